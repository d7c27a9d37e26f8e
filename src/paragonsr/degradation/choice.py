"""A step that carries out one of several lists of steps."""

from typing import Any, Literal

from pydantic import Field, model_validator

from paragonsr.degradation.base import Parameters
from paragonsr.degradation.draws import Draws
from paragonsr.degradation.options import StepOptions
from paragonsr.degradation.step import Step, Target, run
from paragonsr.options import Options


class BranchOptions(Options):
    """One of the lists."""

    weight: float = Field(1.0, ge=0)
    """Relative frequency."""
    steps: list[StepOptions] = Field(default_factory=list)
    """Steps, carried out in order; none leaves the image as it is."""


class OneOfOptions(StepOptions):
    """Carries out one of several lists of steps, drawn for each sample in proportion to the weights."""

    type: Literal["one_of"] = "one_of"
    target = "paragonsr.degradation.choice:OneOf"
    branches: list[BranchOptions] = Field(min_length=1)
    """Lists to choose from."""

    @model_validator(mode="after")
    def _some_weight(self) -> "OneOfOptions":
        if not any(branch.weight for branch in self.branches):
            raise ValueError("needs at least one branch with a weight above 0")
        return self


class OneOf(Step[OneOfOptions]):
    """See the options."""

    takes = "either"

    def __init__(self, options: OneOfOptions) -> None:
        super().__init__(options)
        self._weights = {str(number): branch.weight for number, branch in enumerate(options.branches)}
        self._branches = [[step.build() for step in branch.steps] for branch in options.branches]

    def apply(self, image: Any, draws: Draws, target: Target) -> tuple[Any, Parameters]:
        """See `Step`."""
        number = int(draws.choice(self._weights))
        result, drawn = run(self._branches[number], image, draws.child(number), target)
        return result, {"branch": number} | {f"{number}.{name}": value for name, value in drawn.items()}
