"""The budget of a run: seconds, iterations or samples."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from paragonsr.errors import UserError

Unit = Literal["seconds", "iterations", "samples"]
UNITS: dict[str, tuple[Unit, float]] = {
    "s": ("seconds", 1),
    "min": ("seconds", 60),
    "h": ("seconds", 3600),
    "it": ("iterations", 1),
    "k it": ("iterations", 1e3),
    "samples": ("samples", 1),
    "k samples": ("samples", 1e3),
    "m samples": ("samples", 1e6),
}


@dataclass(frozen=True)
class Budget:
    """How much a run may cost."""

    amount: float
    unit: Unit
    text: str = field(compare=False, default="")
    """As it was written."""

    def __str__(self) -> str:
        return self.text

    def iterations(self, batch: int) -> int | None:
        """The budget in iterations of `batch` samples; None where only a measured speed can tell."""
        if self.unit == "seconds":
            return None
        return max(1, round(self.amount if self.unit == "iterations" else self.amount / batch))


def parse_budget(text: str, where: str = "train.budget") -> Budget:
    """Read a budget: "600s", "10min", "6h", "20000it", "20k it", "1M samples".

    Raises:
        UserError: it is none of these.
    """
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:e[0-9]+)?)\s*([a-z][a-z ]*?)\s*", text.lower())
    amount, unit = (float(found[1]), UNITS.get(" ".join(found[2].split()))) if found else (0.0, None)
    if unit is None or amount <= 0:
        raise UserError(f"{text!r} is not a budget", where=where, fix="Write 600s, 10min, 6h, 20000it or 1M samples.")
    return Budget(amount * unit[1], unit[0], text.strip())


def _validated(given: Any) -> Budget:
    if isinstance(given, Budget):
        return given
    try:
        return parse_budget(str(given))
    except UserError as error:
        raise ValueError(f"{error.what}; {error.fix}") from None


BudgetField = Annotated[Budget, PlainValidator(_validated), PlainSerializer(str), WithJsonSchema({"type": "string"})]
"""Type of a field that is written as text and read as a `Budget`."""
