"""Features of other trainers that are not built here: taken out of the configuration, and named."""

from dataclasses import dataclass, field
from typing import Any

from paragonsr.archs.options import NetworkOptions
from paragonsr.config import upstream
from paragonsr.config.tree import Tree, carry_lines, dotted, mappings, sections
from paragonsr.config.yaml import Key, place
from paragonsr.data.options import DatasetOptions
from paragonsr.discriminators.options import DiscriminatorOptions
from paragonsr.losses.options import LossOptions
from paragonsr.metrics.options import MetricOptions
from paragonsr.optim.options import SchedulerOptions
from paragonsr.options import Variant

KINDS: dict[str, type[Variant]] = {
    "network_g": NetworkOptions,
    "network_d": DiscriminatorOptions,
    "losses": LossOptions,
    "metrics": MetricOptions,
    "datasets": DatasetOptions,
    "scheduler": SchedulerOptions,
}
"""What is chosen by each kind of `type` in the tables: what a plugin adds is not refused."""


@dataclass
class _Refusal:
    """One reason, with all keys that it applies to."""

    line: int | None
    names: list[str] = field(default_factory=list)


class Refusals:
    """Removes unsupported features from a tree and puts valid values in their place, so that the rest is checked.

    Args:
        tree: of the configuration; is changed.
        lines: where each of its keys stands; is changed with it.
        file: for messages.
    """

    def __init__(self, tree: Tree, lines: dict[Key, int], file: str) -> None:
        self._tree, self._lines, self._file = tree, lines, file
        self._found: dict[str, _Refusal] = {}

    def take_out(self) -> None:
        """Carry out the tables of `paragonsr.config.upstream`."""
        self._refuse_types()
        self._refuse()

    def add(self, why: str, at: Key, name: str = "") -> None:
        """Refuse a key.

        Args:
            why: reason, and what to do.
            at: where it stands.
            name: its name in the message; default: the path.
        """
        refusal = self._found.setdefault(why, _Refusal(self._lines.get(at)))
        refusal.names.append(name or dotted(at))

    def sentences(self) -> list[str]:
        """A line for each reason, in the order of the file, with all keys that it applies to."""
        ordered = sorted(self._found.items(), key=lambda item: item[1].line or 0)
        return [f"{place(self._file, it.line)}: {', '.join(it.names)}: {why}" for why, it in ordered]

    def _refuse_types(self) -> None:
        """Refuse each `type` of other trainers that is not built here; losses without weight are removed silently.

        Something valid takes its place, so that the rest of the file is checked all the same.
        """
        for at, section in sections(self._tree, ("datasets", "*")):
            if self._is_not_built("datasets", section, at):
                section["type"] = "pairedimagedataset"
                section.setdefault("dataroot_lq", section.get("dataroot_gt"))
        if self._is_not_built("network_g", self._tree.get("network_g"), ("network_g",)):
            self._tree["network_g"] = {"type": "paragonsr2_nano"}
        if self._is_not_built("network_d", self._tree.get("network_d"), ("network_d",)):
            del self._tree["network_d"]
        train, val = self._tree.get("train"), self._tree.get("val")
        if isinstance(train, dict):
            if self._is_not_built("scheduler", train.get("scheduler"), ("train", "scheduler")):
                del train["scheduler"]
            self._refuse_losses(train)
        off = isinstance(val, dict) and val.get("val_enabled") is False
        for name, metric in mappings(val.get("metrics") if isinstance(val, dict) else None):
            if off and upstream.why_not_built("metrics", str(metric.get("type"))):
                del val["metrics"][name]  # type: ignore[index]  # nothing is measured
            elif self._is_not_built("metrics", metric, ("val", "metrics", name)):
                del val["metrics"][name]  # type: ignore[index]

    def _refuse_losses(self, train: Tree) -> None:
        for key, loss in mappings(train):
            if str(key).endswith("_opt") and (_weightless(loss) or self._is_not_built("losses", loss, ("train", key))):
                del train[key]
        losses = train.get("losses")
        if not isinstance(losses, list):
            return
        kept: list[Any] = []
        for index, loss in enumerate(losses):
            if isinstance(loss, dict):
                unbuilt = upstream.why_not_built("losses", str(loss.get("type")))
                if _weightless(loss) and str(loss.get("type")).lower() in upstream.WEIGHTLESS:
                    continue
                if unbuilt and (_weightless(loss) or self._is_not_built("losses", loss, ("train", "losses", index))):
                    continue
            carry_lines(self._lines, ("train", "losses", index), ("train", "losses", len(kept)))
            kept.append(loss)
        train["losses"] = kept if kept or not losses else [{"type": "l1loss"}]

    def _is_not_built(self, kind: str, section: Any, at: Key) -> bool:
        """Whether the type of a section is one of those that are not built here; then it is refused."""
        name = str(section.get("type")) if isinstance(section, dict) else ""
        why = upstream.why_not_built(kind, name)
        if why is None or KINDS[kind].choose(name) is not None:
            return False
        self.add(why, (*at, "type"), f"{dotted(at)} {name}")
        return True

    def _refuse(self) -> None:
        """Remove unsupported keys and report them; a neutral value changes nothing and is removed silently."""
        places: list[tuple[Key, Any]] = [((), self._tree)]
        places += [((name,), self._tree.get(name)) for name in ("train", "path")]
        for at, section in [*places, *sections(self._tree, ("datasets", "*"))]:
            if not isinstance(section, dict):
                continue
            for key in [key for key in section if key in upstream.SILENT]:
                del section[key]
            for key in [key for key in section if key in upstream.REFUSED]:
                neutral, why = upstream.REFUSED[key]
                value = section.pop(key)
                if value and value not in neutral and not (isinstance(value, dict) and value.get("enabled") is False):
                    self.add(why, (*at, key))


def _weightless(loss: Tree) -> bool:
    """Whether a loss is switched off: its weight is a zero."""
    weight = loss.get("loss_weight")
    return isinstance(weight, int | float) and weight == 0 and not loss.get("target_weight")
