"""Checkpoint manager: saves resume states, the averaged weights and the best weights."""

import time
from collections.abc import Callable, Mapping
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
    """Options of what is saved, and how."""

    metric: str
    """Name of the metric that decides which weights are best."""
    save_best: bool
    autosave_seconds: float
    """Time between two rolling states (autosaves), in seconds."""
    averaged: bool
    """Whether the saved weights are a moving average; this determines their file names."""


class CheckpointManager:
    """Saves the checkpoints of a run; only the main process writes.

    Args:
        folder: the run's folder.
        files: its checkpoints; None in processes other than the main one.
        options: what is saved, and how.
        loggers, journal: flushed before each checkpoint, which stores their sizes.
        metadata: returns what is written into the header of the weights.
        provenance: stored in each state to identify the run it belongs to.
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
        """Whether the next autosave is due."""
        return time.monotonic() - self._last > self._options.autosave_seconds

    def autosave(self, state: TrainingState) -> None:
        """Overwrite the rolling resume state."""
        self._save_state(state, AUTOSAVE)

    def save(self, state: TrainingState) -> None:
        """Save the averaged weights and a resume state of this iteration."""
        if self._files is None:
            return
        self._save_weights(state, f"{self._stem}_{state.iteration}")
        self._save_learners(state)
        self._save_state(state, str(state.iteration))

    def save_best(self, state: TrainingState) -> None:
        """Save the averaged weights as the best so far; those of the first validation also as a reference."""
        if self._files is not None and self._options.save_best:
            self._save_weights(state, "best")
            if not (self._folder / "models" / "first.safetensors").exists():
                self._save_weights(state, "first")

    def save_before_decay(self, state: TrainingState) -> None:
        """Save the state before the learning rate decays, from which a longer run can continue."""
        self._save_state(state, "before_decay")

    def best_weights(self, state: TrainingState) -> Path:
        """File of the best weights, or of the last ones if nothing was validated or the best are not saved."""
        name = "best" if state.best and self._options.save_best else f"{self._stem}_{state.iteration}"
        return self._folder / "models" / f"{name}.safetensors"

    def note(self, validation: Validation, state: TrainingState, floors: Mapping[str, float]) -> None:
        """Process a validation: if it is the best so far, record it and save its weights.

        Args:
            validation: result of the current weights.
            state: the training state; its `best` is updated.
            floors: name of a metric -> value below which weights are not kept.
        """
        best = better_of(state.best, validation, self._options.metric, floors)
        if best is not state.best:
            state.best = best
            self.save_best(state)

    def best_ever(self, best: Best | None) -> Best | None:
        """Validation that the saved best weights belong to; after a crash, the checkpoint may not know it yet.

        If these weights are missing or damaged, there is no best: the next validation saves new ones.

        Args:
            best: the best according to the checkpoint; the saved weights can only be better.
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
