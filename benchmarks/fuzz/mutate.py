"""Damage as done to files by disks, networks and editors."""

import random


def damaged(data: bytes, dice: random.Random) -> bytes:
    """Apply one to four mutations: flipped bits, cut or doubled parts, zeros, foreign bytes, a truncated end."""
    content = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        _mutate(content, dice)
    return bytes(content)


def _mutate(content: bytearray, dice: random.Random) -> None:
    if not content:
        return
    # Half of all damage is in the first bytes, because headers determine how the rest is processed.
    size = len(content)
    at = dice.randrange(min(size, 200) if dice.random() < 0.5 else size)
    length = min(dice.choice((1, 2, 4, 16, 200)), size - at)
    kind = dice.choice("flip byte zero ones cut double insert truncate swap".split())
    if kind == "flip":
        content[at] ^= 1 << dice.randrange(8)
    elif kind == "byte":
        content[at] = dice.randrange(256)
    elif kind == "zero":
        content[at : at + length] = bytes(length)
    elif kind == "ones":
        content[at : at + length] = b"\xff" * length
    elif kind == "cut":
        del content[at : at + length]
    elif kind == "double":
        content[at:at] = content[at : at + length]
    elif kind == "insert":
        content[at:at] = dice.randbytes(length)
    elif kind == "truncate":
        del content[at:]
    else:
        other = dice.randrange(size)
        content[at], content[other] = content[other], content[at]


TOKENS = (
    *"~ [] {} - : ? & * ! | > ' \" % @ ` ² 1e999 .inf .nan 0x10 1_000 !!float <<: null true -1".split(),
    *("\t", "\0", "\u2028"),
)
"""Tokens that are difficult in YAML and JSON."""


def damaged_text(text: str, dice: random.Random) -> str:
    """Apply one to three changes: a token inserted, a line lost, doubled, moved or indented, a value replaced."""
    lines = text.split("\n")
    for _ in range(dice.choice((1, 1, 2, 3))):
        at = dice.randrange(len(lines))
        kind = dice.choice("token lose double move indent value nest".split())
        if kind == "token":
            place = dice.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:place] + dice.choice(TOKENS) + lines[at][place:]
        elif kind == "lose" and len(lines) > 1:
            del lines[at]
        elif kind == "double":
            lines.insert(at, lines[at])
        elif kind == "move":
            lines.insert(dice.randrange(len(lines)), lines.pop(at))
        elif kind == "indent":
            lines[at] = dice.choice(("  ", " ", "\t", "- ")) + lines[at]
        elif kind == "value" and ":" in lines[at]:
            lines[at] = lines[at].split(":")[0] + ": " + dice.choice(TOKENS)
        elif kind == "nest":
            lines[at] += " " + "[" * dice.choice((1, 50, 5000))
    return "\n".join(lines)
