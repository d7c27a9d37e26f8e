"""How many training templates of a checkout of traiNNer-redux load, and what the others are refused for.

python -m benchmarks.redux_templates CHECKOUT
python -m benchmarks.redux_templates CHECKOUT HR LR    # also runs `paragonsr check` on each, with these images (x4)
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from paragonsr.config import load_config
from paragonsr.errors import UserError


def kind_of(template: Path) -> str:
    """Kind of a template, from its name: fidelity or gan, with OTF for degradation while training."""
    return ("OTF " if "OTF" in template.stem else "") + template.stem.rpartition("_")[2]


def reasons(error: UserError) -> set[str]:
    """The reasons for which a template is refused, without file, line and keys."""
    return {line.rpartition(": ")[2] for line in str(error).splitlines()}


def passes_check(template: Path, hr: str, lq: str) -> bool:
    """Whether `paragonsr check` says that a template is ready to train, with the roots of its data given."""
    roots = [
        f"datasets.{phase}.dataroot_{kind}=[{path}]"
        for phase in ("train", "val")
        for kind, path in (("gt", hr), ("lq", lq))
    ]
    command = [sys.executable, "-m", "paragonsr", "check", str(template), "--no-measure", *roots]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{template.stem}: {done.stderr.strip()}")
    return done.returncode == 0


def main(checkout: Path, images: Sequence[str]) -> None:
    """Print a line for each kind, and below it how often each reason was given."""
    counts: dict[str, Counter[str]] = {}
    for template in sorted((checkout / "options" / "_templates" / "train").rglob("*.yml")):
        count = counts.setdefault(kind_of(template), Counter())
        count["templates"] += 1
        try:
            load_config(template)
            count["load"] += 1
            count["check"] += bool(images) and passes_check(template, *images)
        except UserError as error:
            count.update(reasons(error))
    for kind, count in sorted(counts.items()):
        ready = f", {count.pop('check', 0)} pass check" if images else ""
        print(f"{kind}: {count.pop('load', 0)} of {count.pop('templates')} load{ready}")
        for reason, times in count.most_common():
            print(f"  {times:3}  {reason}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
