"""Generates the import graph of the packages in docs/architecture.md, as a Mermaid graph.

python -m tools.architecture
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "paragonsr"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- made by tools.architecture -->", "<!-- end -->"


def arrows() -> set[tuple[str, str]]:
    """Pairs (package, imported package) within paragonsr; `training` is split into its parts."""
    found: set[tuple[str, str]] = set()
    for file in SOURCE.rglob("*.py"):
        own = _package(".".join(file.relative_to(SOURCE).with_suffix("").parts))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("paragonsr."):
                other = _package(str(node.module).removeprefix("paragonsr."))
                if own and other and own != other:
                    found.add((own, other))
    return found


def _package(module: str) -> str | None:
    """Package of a module; None for top-level modules, which everything may import."""
    parts = module.split(".")
    if parts[0] == "training":
        return f"training.{parts[1]}" if len(parts) > 2 or (SOURCE / "training" / parts[1]).is_dir() else "training"
    return parts[0] if (SOURCE / parts[0]).is_dir() else None


def graph() -> str:
    """Mermaid source; arrows implied by others are left out."""
    edges = arrows()
    reach = {a: _reachable(a, edges) for a, _ in edges}
    direct = [
        (a, b) for a, b in sorted(edges) if not any(b in reach.get(c, set()) for x, c in edges if x == a and c != b)
    ]
    names = sorted({name for edge in direct for name in edge})
    lines = [f'    {name.replace(".", "_")}["{name}"]' for name in names]
    lines += [f"    {a.replace('.', '_')} --> {b.replace('.', '_')}" for a, b in direct]
    return "\n".join(["```mermaid", "graph TD", *lines, "```"])


def _reachable(start: str, edges: set[tuple[str, str]]) -> set[str]:
    found: set[str] = set()
    todo = [start]
    while todo:
        here = todo.pop()
        new = {b for a, b in edges if a == here} - found
        found |= new
        todo += new
    return found


def page(text: str) -> str:
    """Page with the current graph between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{graph()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
