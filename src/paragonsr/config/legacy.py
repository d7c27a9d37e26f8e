"""Configurations of other trainers: their keys and names are rewritten into those of today.

Renamed keys are carried over; keys without a meaning are dropped, each named once in a warning; what would make the run
something else than its owner asked for (training on video) is refused. The tables stand in
`paragonsr.config.upstream`.
"""

from typing import Any

from paragonsr.archs.options import NETWORKS, NetworkOptions
from paragonsr.archs.preset_options import built_preset, find_preset
from paragonsr.archs.release_options import ReleaseOptions
from paragonsr.archs.spandrel_options import SpandrelOptions
from paragonsr.config import upstream
from paragonsr.config.degradation_keys import translate
from paragonsr.config.refusals import Refusals
from paragonsr.config.tree import Tree, carry_lines, dotted, mappings, parent, plain, sections
from paragonsr.config.yaml import Key
from paragonsr.data.options import IGNORED_KEYS as IGNORED_DATA
from paragonsr.losses.adversarial_options import GANOptions
from paragonsr.losses.options import LossOptions
from paragonsr.optim.options import LibraryOptions, OptimiserOptions


class Legacy:
    """Rewrites one tree in place; `warnings` lists what was dropped or renamed, each once.

    Args:
        tree: of the configuration.
        lines: where each of its keys stands; keys that move take their line with them.
        file: for messages.
    """

    def __init__(self, tree: Tree, lines: dict[Key, int], file: str) -> None:
        self.tree, self.lines, self.file, self.warnings = tree, lines, file, list[str]()
        self._refusals = Refusals(tree, lines, file)

    @property
    def refused(self) -> list[str]:
        """Features that the file asks for and that are not built: a line for each reason, in the order of the file."""
        return self._refusals.sentences()

    def rewrite(self) -> None:
        """Carry out all rules."""
        self._rename()
        self.warnings += translate(self.tree, self.lines, self._refusals)
        self._refusals.take_out()
        self._drop(self.tree, upstream.IGNORED_TOP, ())
        off = "degradation while training was off"
        self._drop(self.tree, {k: off for k in self.tree if str(k).startswith(upstream.DEGRADATION_PREFIXES)}, ())
        for phase, dataset in mappings(self.tree.get("datasets")):
            self._drop(dataset, IGNORED_DATA, ("datasets", phase))
        for section, ignored in (
            ("path", upstream.IGNORED_PATH),
            ("val", upstream.IGNORED_VAL),
            ("logger", upstream.IGNORED_LOGGER),
        ):
            if isinstance(self.tree.get(section), dict):
                self._drop(self.tree[section], ignored, (section,))
        if isinstance(self.tree.get("logger"), dict):
            self._logger(self.tree["logger"])
        if isinstance(self.tree.get("network_g"), dict):
            self._network(self.tree["network_g"])
        for section in ("training_automations", "dynamic_loss_scheduling"):
            if section in self.tree:
                self._move((section,), ("train", section))
        if isinstance(self.tree.get("train"), dict):
            self._train(self.tree["train"])

    def _rename(self) -> None:
        """Rename old keys, unless the new key is there as well."""
        for at, names in upstream.RENAMED.items():
            for here, section in sections(self.tree, at):
                for old, new in names.items():
                    if old in section and new not in section:
                        section[new] = section.pop(old)
                        carry_lines(self.lines, (*here, old), (*here, new))

    def _drop(self, section: Tree, ignored: dict[str, str], at: Key) -> None:
        """Take keys out, and say so in one warning for all those of a section that have the same reason."""
        dropped: dict[str, list[str]] = {}
        for key in [k for k in section if k in ignored]:
            if section.pop(key) is not None:
                dropped.setdefault(ignored[key], []).append(key)
        for reason, keys in dropped.items():
            where = self._where([(*at, key) for key in keys])
            verb = "has" if len(keys) == 1 else "have"
            self.warnings.append(f"{dotted((*at, ', '.join(keys)))}{where} {verb} no meaning here ({reason})")

    def _where(self, keys: list[Key]) -> str:
        numbers = sorted({self.lines[key] for key in keys if self.lines.get(key)})
        if not numbers:
            return ""
        return f" (line {numbers[0]})" if len(numbers) == 1 else f" (lines {numbers[0]} to {numbers[-1]})"

    def _move(self, old: Key, new: Key) -> None:
        """Move a value to another key, unless that key is set, with its line and a warning."""
        value = parent(self.tree, old).pop(old[-1])
        home = parent(self.tree, new)
        if isinstance(home, list):
            home.append(value)
        elif isinstance(home, dict):
            home.setdefault(new[-1], value)
        self.warnings.append(f"{dotted(old)}{self._where([old])} was moved to {dotted(new)}")
        carry_lines(self.lines, old, new)

    def _logger(self, logger: Tree) -> None:
        if logger.get("save_checkpoint_format") == "pth":
            where = self._where([("logger", "save_checkpoint_format")])
            self.warnings.append(f"logger.save_checkpoint_format{where} is safetensors here, which others read as well")
            del logger["save_checkpoint_format"]

    def _network(self, network: Tree) -> None:
        self._preset(network)
        options = NETWORKS.get(str(network.get("type")).lower())
        if options is not None and issubclass(options, ReleaseOptions):
            self._drop(network, upstream.IGNORED_RELEASE, ("network_g",))

    def _preset(self, network: Tree) -> None:
        """Write a network of another trainer by its name there as spandrel's class with arguments."""
        name, scale = network.get("type"), self.tree.get("scale")
        if not isinstance(name, str) or NetworkOptions.choose(name) is not None or find_preset(name) is None:
            return
        given = {key: network.pop(key) for key in list(network) if key != "type"}
        preset = built_preset(name, scale if isinstance(scale, int) else 4, given)
        network |= {"type": SpandrelOptions.tag(), "network": preset.network, "arguments": dict(preset.arguments)}
        for key in given:
            carry_lines(self.lines, ("network_g", key), ("network_g", "arguments", key))

    def _train(self, train: Tree) -> None:
        self._drop(train, upstream.IGNORED_TRAIN, ("train",))
        self._optimiser(train.get("optim_g"))
        self._restarts(train.get("scheduler"))
        for key in [k for k in train if isinstance(k, str) and k.endswith("_opt")]:
            if train[key] is None:
                del train[key]
            elif isinstance(train[key], dict) and "type" in train[key]:
                losses = train["losses"] = train.get("losses") or []
                if isinstance(losses, list):
                    self._move(("train", key), ("train", "losses", len(losses)))
        losses = train.get("losses")
        for index, loss in enumerate(losses if isinstance(losses, list) else []):
            if isinstance(loss, dict):
                self._loss(loss, ("train", "losses", index))
        self._discriminator(train)
        if isinstance(train.get("dynamic_loss_scheduling"), dict):
            measured = dict.fromkeys(("training_config", "architecture_type"), "the training images are measured")
            self._drop(train["dynamic_loss_scheduling"], measured, ("train", "dynamic_loss_scheduling"))
        if isinstance(train.get("training_automations"), dict):
            train["training_automations"] = self._automations(train["training_automations"])
        self._deciding_metric(train)

    def _loss(self, loss: Tree, at: Key) -> None:
        _without_neutral(loss, upstream.NEUTRAL_LOSS)
        self._drop(loss, upstream.IGNORED_LOSS, at)
        if "perceptual_weight" in loss and "loss_weight" not in loss:
            loss["loss_weight"] = loss.pop("perceptual_weight")
            carry_lines(self.lines, (*at, "perceptual_weight"), (*at, "loss_weight"))
        for key, values in upstream.SAME_LOSS.items():
            if isinstance(loss.get(key), str):
                loss[key] = values.get(loss[key], loss[key])

    def _discriminator(self, train: Tree) -> None:
        """Move the discriminator and its optimiser to the adversarial loss that uses them; drop them if none does."""
        losses = train.get("losses") if isinstance(train.get("losses"), list) else []
        assert isinstance(losses, list)
        chosen = [
            index
            for index, loss in enumerate(losses)
            if isinstance(loss, dict) and LossOptions.choose(str(loss.get("type"))) is GANOptions
        ]
        self._optimiser(train.get("optim_d"))
        network = self.tree.get("network_d")
        if isinstance(network, dict):
            _without_neutral(network, upstream.NEUTRAL_NETWORK_D)
            form, scales = upstream.MULTI_SCALE.get(str(network.get("type")).lower(), (None, 0))
            if form:
                network |= {"type": form, "num_d": network.get("num_d", scales)}
        for home, at, key in ((self.tree, (), "network_d"), (train, ("train",), "optim_d")):
            if home.get(key) is None:
                home.pop(key, None)
            elif chosen:
                place = ("train", "losses", chosen[0], key)
                losses[chosen[0]].setdefault(key, home.pop(key))
                self.warnings.append(f"{dotted((*at, key))}{self._where([(*at, key)])} was moved to {dotted(place)}")
                carry_lines(self.lines, (*at, key), place)
            else:
                self._drop(home, {key: "no adversarial loss uses it"}, at)

    def _optimiser(self, section: Any) -> None:
        """Name an optimiser of the pytorch-optimizer library by its own type, as others do."""
        name = section.get("type") if isinstance(section, dict) else None
        if isinstance(name, str) and OptimiserOptions.choose(name) is None and plain(name) in LibraryOptions.NAMES:
            own = LibraryOptions.model_fields
            arguments = {key: section.pop(key) for key in [key for key in section if key not in own]}
            section |= {"type": LibraryOptions.tag(), "name": plain(name), "arguments": arguments}

    def _restarts(self, section: Any) -> None:
        """CosineAnnealingRestartLR has periods; with T_0 it is what torch calls CosineAnnealingWarmRestarts."""
        if isinstance(section, dict) and plain(section.get("type")) == "cosineannealingrestartlr" and "T_0" in section:
            section["type"] = "CosineAnnealingWarmRestarts"

    def _deciding_metric(self, train: Tree) -> None:
        """`metric` and `save_best` were keys of early_stopping, and `metric` of ReduceLROnPlateau; now of `val`."""
        sections = train.get("training_automations")
        stopping = sections.get("early_stopping") if isinstance(sections, dict) else None
        at: Key = ("train", "training_automations", "early_stopping")
        for section, old in ((stopping, at), (train.get("scheduler"), ("train", "scheduler"))):
            for key in ("metric", "save_best"):
                home = parent(self.tree, ("val", key))
                if isinstance(section, dict) and key in section and isinstance(home, dict):
                    home.setdefault(key, section.pop(key))
                    self.lines.setdefault(("val", key), self.lines.get((*old, key), 0))
        val = self.tree.get("val")
        if isinstance(val, dict) and isinstance(val.get("metric"), str):
            val["metric"] = val["metric"].removeprefix("val/")

    def _automations(self, sections: Tree) -> Tree:
        renamed: Tree = {}
        at: Key = ("train", "training_automations")
        for name, section in sections.items():
            today = upstream.AUTOMATION_NAMES.get(str(name).lower().replace("_", ""), name)
            renamed[today] = section
            if not isinstance(section, dict):
                continue
            if "monitor_metric" in section:
                section.setdefault("metric", section.pop("monitor_metric"))
            live = {"improvement_threshold"} if today == "intelligent_learning_rate_scheduler" else set()
            self._drop(
                section,
                dict.fromkeys(upstream.DEAD_AUTOMATION_KEYS - live, upstream.IGNORED_IN_AUTOMATIONS),
                (*at, name),
            )
            for key in [key for key in self.lines if key[:3] == (*at, name)]:
                self.lines[(*at, today, *key[3:])] = self.lines[key]
        return renamed


def _without_neutral(section: Tree, neutral: dict[str, tuple[Any, ...]]) -> None:
    """Take out keys whose value says what is done here anyway."""
    for key in [key for key in section if key in neutral and section[key] in neutral[key]]:
        del section[key]
