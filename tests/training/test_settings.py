"""What carries decisions out."""

from pathlib import Path

from paragonsr.automation.journal import DecisionJournal, Entry
from paragonsr.automation.protocol import Decay, Decision
from paragonsr.training.control.controller import Controller, Hyperparameters
from paragonsr.training.control.size_probe import SizeProbe


def test_the_state_before_the_first_decay_is_what_is_kept(tmp_path: Path) -> None:
    kept: list[int] = []
    told: list[Entry] = []
    controller = Controller(
        Hyperparameters(4, 4, None, lr=1e-3, total_iter=100),
        DecisionJournal(None),
        roll_back=lambda: None,
        announce=told.append,
        before_decay=lambda: kept.append(len(told)),
        size_probe=SizeProbe(tmp_path),
        reference_batch=4,
    )
    for owner, start in (("early_stopping", 50), ("intelligent_learning_rate_scheduler", 90)):
        decay = Decay(start, 100, "linear", 0.01)
        controller.apply([Decision(owner, f"lr_factor/{owner}", decay, "")], start)
    assert [entry.outcome for entry in told] == ["applied", "applied"]
    assert kept == [0]
    assert controller.settings.lr_factor(100) < 1.1e-4
