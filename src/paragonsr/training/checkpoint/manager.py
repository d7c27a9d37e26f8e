"""What a run keeps: resume states, the averaged weights, the best of them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paragonsr.archs.weights import read_metadata, save_weights
from paragonsr.automation.journal import DecisionJournal
from paragonsr.automation.options import EarlyStoppingOptions
from paragonsr.automation.protocol import Validation
from paragonsr.training.checkpoint.files import AUTOSAVE, CheckpointFiles
from paragonsr.training.checkpoint.run_folder import RunFolder
from paragonsr.training.checkpoint.state import TrainingState
from paragonsr.training.control.best import Best
from paragonsr.training.reporting import record
from paragonsr.training.reporting.record import MetricsRecord
from paragonsr.training.reporting.tensorboard import TensorBoardLogger


class CheckpointManager:
    """Saves a run, if this process leads.

    Args:
        folder: the run's folder.
        store: its checkpoints; None in processes that do not lead.
        recorder, journal, board: brought to the disk before each checkpoint, which remembers how far they reached.
        metadata: what is written into the header of the weights.
        options: which figure decides, and whether the best weights are kept.
        autosave_seconds: time between two rolling states.
        stamp: what each state says about the run that it belongs to.
        averaged: whether the kept weights are a moving average, which their name says.
    """

    def __init__(
        self,
        folder: RunFolder,
        store: CheckpointFiles | None,
        record: MetricsRecord | None,
        journal: DecisionJournal,
        tensorboard: TensorBoardLogger,
        metadata: Callable[[TrainingState], dict[str, Any]],
        options: EarlyStoppingOptions,
        autosave_seconds: float,
        provenance: dict[str, Any],
        *,
        averaged: bool,
    ) -> None:
        self._folder, self._store, self._recorder = folder, store, record
        self._journal, self._board, self._metadata = journal, tensorboard, metadata
        self._metric, self._autosave_seconds = options.metric.removeprefix("val/"), autosave_seconds
        self._keeps_best, self._provenance = options.save_best, provenance
        self._stem = "net_g_ema" if averaged else "net_g"
        self._last = time.monotonic()

    def autosave_due(self) -> bool:
        """Whether the rolling state is older than it may be."""
        return time.monotonic() - self._last > self._autosave_seconds

    def autosave(self, state: TrainingState) -> None:
        """Overwrite the rolling resume state."""
        self._save_state(state, AUTOSAVE)

    def save(self, state: TrainingState) -> None:
        """Keep the averaged weights and a resume state of this iteration."""
        if self._store is None:
            return
        self._save_weights(state, f"{self._stem}_{state.iteration}")
        self._save_state(state, str(state.iteration))

    def save_best(self, state: TrainingState) -> None:
        """Keep the averaged weights as the best so far, and those of the first validation, to compare with."""
        if self._store is not None and self._keeps_best:
            self._save_weights(state, "best")
            if not (self._folder.path / "models" / "first.safetensors").exists():
                self._save_weights(state, "first")

    def save_before_decay(self, state: TrainingState) -> None:
        """Keep the state that a decay of the rate begins from: a longer run can go on from there."""
        self._save_state(state, "before_decay")

    def best_weights(self, state: TrainingState) -> Path:
        """The file of the best weights; of the last, where nothing was validated or the best are not kept."""
        name = "best" if state.best and self._keeps_best else f"{self._stem}_{state.iteration}"
        return self._folder.path / "models" / f"{name}.safetensors"

    def is_best(self, validation: Validation, state: TrainingState) -> bool:
        """Whether a validation beats all before; if so the state remembers it."""
        try:
            figure = validation.deciding(self._metric)
        except (KeyError, StopIteration):
            return False
        best = state.best
        sign = 1.0 if figure.better == "higher" else -1.0
        if best is not None and sign * figure.value <= sign * best.value:
            return False
        state.best = Best(self._metric, figure.value, validation.iteration, figure.protocol)
        return True

    def best_ever(self, best: Best | None) -> Best | None:
        """The validation that the kept best weights are of, which a crash after it has left out of the checkpoint.

        Args:
            best: what the checkpoint remembers; the file is only ever replaced by something better.
        """
        file = self._folder.path / "models" / "best.safetensors"
        if not self._keeps_best or not file.exists():
            return best
        kept = Best(**(read_metadata(file) or {})["best"])
        comparable = best is None or (best.metric, best.protocol) == (kept.metric, kept.protocol)
        return kept if comparable else best

    def _save_weights(self, state: TrainingState, name: str) -> None:
        path = self._folder.path / "models" / f"{name}.safetensors"
        save_weights(path, state.averaged().state_dict(), self._metadata(state))

    def _save_state(self, state: TrainingState, name: str) -> None:
        self._last = time.monotonic()
        if self._store is None or self._recorder is None:
            return
        self._recorder.sync()
        self._journal.sync()
        self._board.flush()
        tensors, rest = state.save()
        rest["positions"] = record.positions(self._folder.path)
        self._store.save_state(name, tensors, rest | self._provenance)
