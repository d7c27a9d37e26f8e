"""The controller, which carries out decisions."""

from paragonsr.automation.journal import DecisionJournal, Entry
from paragonsr.automation.protocol import Decay, Decision
from paragonsr.training.control.controller import Controller, Hyperparameters


def test_the_state_before_the_first_decay_is_what_is_kept() -> None:
    kept: list[int] = []
    told: list[Entry] = []
    controller = Controller(
        Hyperparameters(4, 4, None, lr=1e-3, total_iter=100),
        DecisionJournal(None),
        reference_batch=4,
    )
    controller.on("first_decay", lambda _: kept.append(len(told)))
    controller.on("entry", told.append)
    for owner, start in (("early_stopping", 50), ("intelligent_learning_rate_scheduler", 90)):
        decay = Decay(start, 100, "linear", 0.01)
        controller.apply([Decision(owner, f"lr_factor/{owner}", decay, "")], start)
    assert [entry.outcome for entry in told] == ["applied", "applied"]
    assert kept == [0]
    assert controller.settings.lr_factor(100) < 1.1e-4
