"""What a run keeps: resume states, the averaged weights, the best of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paragonsr.archs.branches import merged
from paragonsr.archs.weights import read_weights, save_weights
from paragonsr.automation.journal import DecisionJournal
from paragonsr.automation.protocol import Validation
from paragonsr.errors import UserError
from paragonsr.training.checkpoint.files import AUTOSAVE, CheckpointFiles
from paragonsr.training.checkpoint.state import TrainingState
from paragonsr.training.control.best import Best, better_of
from paragonsr.training.reporting import record
from paragonsr.training.reporting.loggers import LoggerGroup


@dataclass(frozen=True)
class SavingOptions:
    """What is saved, and how."""

    metric: str
    """Name of the metric that decides which weights are the best."""
    save_best: bool
    autosave_seconds: float
    """Time between two rolling states."""
    averaged: bool
    """Whether the saved weights are a moving average; their name says it."""


class CheckpointManager:
    """Saves a run, if this is the main process.

    Args:
        folder: the run's folder.
        files: its checkpoints; None in processes other than the main one.
        options: what is saved.
        loggers, journal: brought to the disk before each checkpoint, which remembers how far they reached.
        metadata: what is written into the header of the weights.
        provenance: what each state says about the run that it belongs to.
    """

    def __init__(
        self,
        folder: Path,
        files: CheckpointFiles | None,
        options: SavingOptions,
        *,
        loggers: LoggerGroup,
        journal: DecisionJournal,
        metadata: Callable[[TrainingState], dict[str, Any]],
        provenance: dict[str, Any],
    ) -> None:
        self._folder, self._files, self._options = folder, files, options
        self._loggers, self._journal = loggers, journal
        self._metadata, self._provenance = metadata, provenance
        self._stem = "net_g_ema" if options.averaged else "net_g"
        self._last = time.monotonic()

    def autosave_due(self) -> bool:
        """Whether the rolling state is older than it may be."""
        return time.monotonic() - self._last > self._options.autosave_seconds

    def autosave(self, state: TrainingState) -> None:
        """Overwrite the rolling resume state."""
        self._save_state(state, AUTOSAVE)

    def save(self, state: TrainingState) -> None:
        """Keep the averaged weights and a resume state of this iteration."""
        if self._files is None:
            return
        self._save_weights(state, f"{self._stem}_{state.iteration}")
        self._save_learners(state)
        self._save_state(state, str(state.iteration))

    def save_best(self, state: TrainingState) -> None:
        """Keep the averaged weights as the best so far, and those of the first validation, to compare with."""
        if self._files is not None and self._options.save_best:
            self._save_weights(state, "best")
            if not (self._folder / "models" / "first.safetensors").exists():
                self._save_weights(state, "first")

    def save_before_decay(self, state: TrainingState) -> None:
        """Keep the state that a decay of the rate begins from: a longer run can continue from there."""
        self._save_state(state, "before_decay")

    def best_weights(self, state: TrainingState) -> Path:
        """The file of the best weights; of the last, where nothing was validated or the best are not kept."""
        name = "best" if state.best and self._options.save_best else f"{self._stem}_{state.iteration}"
        return self._folder / "models" / f"{name}.safetensors"

    def note(self, validation: Validation, state: TrainingState) -> None:
        """Take in a validation; one that beats all before is remembered, and its weights are saved.

        Args:
            validation: of the present weights.
            state: learns the best.
        """
        best = better_of(state.best, validation, self._options.metric)
        if best is not state.best:
            state.best = best
            self.save_best(state)

    def best_ever(self, best: Best | None) -> Best | None:
        """The validation that the kept best weights are of, which a crash after it has left out of the checkpoint.

        Where these weights are gone or damaged there is no best: the next validation saves them again.

        Args:
            best: what the checkpoint remembers; the file is only ever replaced by something better.
        """
        file = self._folder / "models" / "best.safetensors"
        if not self._options.save_best:
            return best
        if not file.exists():
            if best is not None:
                self._loggers.say(f"{file} is missing: the search for the best weights starts over", "red")
            return None
        try:
            kept = Best(**(read_weights(file)[1] or {})["best"])
        except (UserError, KeyError, TypeError):
            self._loggers.say(
                f"{file}: damaged, or not of this run: the search for the best weights starts over", "red"
            )
            return None
        comparable = best is None or (best.metric, best.protocol) == (kept.metric, kept.protocol)
        return kept if comparable else best

    def _save_weights(self, state: TrainingState, name: str) -> None:
        path = self._folder / "models" / f"{name}.safetensors"
        save_weights(path, merged(state.ema_network()).state_dict(), self._metadata(state))

    def _save_learners(self, state: TrainingState) -> None:
        learners = state.train_step.learners
        for label, learner in learners.items():
            stem = "net_d" if len(learners) == 1 else f"net_d_{label}"
            path = self._folder / "models" / f"{stem}_{state.iteration}.safetensors"
            save_weights(path, learner.network.state_dict(), {"loss": label, "iteration": state.iteration})

    def _save_state(self, state: TrainingState, name: str) -> None:
        self._last = time.monotonic()
        if self._files is None:
            return
        self._loggers.flush()
        self._journal.sync()
        tensors, rest = state.save()
        rest["positions"] = record.positions(self._folder)
        self._files.save_state(name, tensors, rest | self._provenance)
