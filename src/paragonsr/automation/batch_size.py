"""Automation that finds the batch size with the highest throughput that fits into memory."""

import math
import statistics
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np

from paragonsr.automation.context import RunContext
from paragonsr.automation.noise_scale import NoiseScale
from paragonsr.automation.options import BatchSizeOptions
from paragonsr.automation.protocol import Decision, Measurements, Observation, Steps

MOST_PROBES = 5
PAYS_PER_DOUBLING = math.sqrt(2)
"""Required gain in samples/s when the batch is doubled. A doubled batch makes half as many updates at sqrt(2) times the
learning rate. Where the rate limits progress, it makes the same progress per time only with sqrt(2) times the
samples/s."""
FASTER = 1.05
"""Gain in samples/s for which another micro-batch size, and so different rounding, is accepted."""
QUICK = 25
"""Percentile of the seconds per step that is used: other load on the machine can only make steps slower."""
TURNS = ("new", "old", "old", "new")
"""Sizes of the windows of a comparison: load that rises or falls steadily favours neither."""
FIRST_GROWTH = 2
"""Growth factor of the first probe, for which there is no prediction yet."""


class BatchSize:
    """Measures memory and speed of each size on real steps, and uses the best size that fits.

    `throughput` keeps the batch and changes only the number of samples that pass through the network at once (the
    micro-batch), so the gradient is the same up to rounding. `maximize` also grows the batch, in multiples of the
    configured one, if the gradient noise scale exceeds the new batch and samples/s rise by at least 41% per doubling;
    the learning rate then grows with the square root of the batch (2205.10287). Every new size is a probe: it is
    announced, compared with the present size in windows that take turns, and kept or reverted. The memory of a size is
    predicted by a straight line through the measured sizes. There are at most five probes; after them, memory is only
    monitored.

    Args:
        options: mode, target, margin, frequency, bounds.
        batch: configured batch, in samples per process.
        micro: configured micro-batch, in samples.
        world: number of processes.
        fewest: smallest micro-batch that the network allows.
    """

    name = "dynamic_batch_size_optimizer"
    watches = "peak memory, seconds per step, gradient norms of half and whole batches"
    may_change = "micro_batch, batch_size, lr_factor/dynamic_batch_size_optimizer"

    def __init__(self, options: BatchSizeOptions, batch: int, micro: int, world: int, fewest: int = 1) -> None:
        self.options, self.configured, self.world, self.fewest = options, batch, world, fewest
        self.batch, self.micro = batch, micro
        self.noise = NoiseScale()
        self.memory: dict[int, float] = {}
        """Micro-batch -> peak memory as a share of the total."""
        self.ceiling: int | None = None
        """Smallest micro-batch that is known not to fit."""
        self.refused: list[int] = []
        """Micro-batches that fitted but were not faster."""
        self.before_probe: list[int] | None = None
        """[batch, micro] to return to; None while there is no probe."""
        self.probed: list[int] = []
        """[batch, micro] of the latest probe."""
        self.turns: list[float] = []
        """Samples per second in the windows of the probe so far, see TURNS."""
        self.probes = 0
        self.settled_at = 0

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Process a window of steps, or the message that a probe killed the process."""
        if isinstance(observation, Measurements) and observation.kind == "interrupted size probe":
            return self._failed(int(observation.values["micro_batch"]), "the process was killed while trying it", 0)
        if not isinstance(observation, Steps):
            return ()
        self._measure_noise(observation)
        values = observation.values
        if values["out_of_memory"].any():
            self.settled_at = observation.iteration
            return self._failed(self.micro, "memory ran out", int(values["micro_batch"][-1]))
        usage = float((values["peak_memory"] / values["total_memory"]).max())
        whole = (values["batch_size"] == self.batch * self.world) & (values["micro_batch"] == self.micro)
        if not whole.any():
            return ()  # The last step of a run may be smaller; in a dry run the requested size is never tried.
        self.memory[self.micro] = usage
        quick = self.batch * self.world / float(np.percentile(values["seconds"][whole], QUICK))
        if usage > self.options.target_vram_usage + self.options.safety_margin and self.micro > self.smallest:
            self.settled_at = observation.iteration
            return self._shrink(usage)
        if self.before_probe is not None:
            self.settled_at = observation.iteration
            return self._take_turns(quick)
        if observation.iteration - self.settled_at < self.options.adjustment_frequency or self.probes >= MOST_PROBES:
            return ()
        return self._probe()

    @property
    def smallest(self) -> int:
        """Smallest allowed micro-batch."""
        return min(max(self.options.min_batch_size, self.fewest), self.configured)

    @property
    def largest(self) -> int:
        """Largest micro-batch of one process that the bounds, the noise scale and earlier failures allow."""
        bound = self.configured
        noise = self.noise.value
        if self.options.mode == "maximize" and noise is not None:
            most = min(noise / self.world, self.options.max_batch_size or math.inf, float(1 << 20))
            bound = max(int(most) // self.configured * self.configured, self.configured)
        return bound if self.ceiling is None else min(bound, self.ceiling - 1)

    def _measure_noise(self, window: Steps) -> None:
        values = window.values
        usable = np.isfinite(values["half_grad_norm"]) & (values["finite"] > 0)
        for row in np.flatnonzero(usable):
            batch = float(values["batch_size"][row])
            half = batch / self.world / 2
            self.noise.add(half, float(values["half_grad_norm"][row]), batch, float(values["grad_norm"][row]))

    def _failed(self, tried: int, what: str, worked: int) -> Sequence[Decision]:
        """Exclude a size that did not fit, and return to one that did."""
        self.ceiling = min(self.ceiling or tried, tried)
        batch, micro = self.before_probe or [self.batch, worked or self.micro]
        self.before_probe = None
        fitting = max(self.fewest, min(micro, self.ceiling - 1))
        return self._set(batch, fitting, f"{what} with {tried} samples at once", {"tried": float(tried)})

    def _shrink(self, usage: float) -> Sequence[Decision]:
        self.ceiling = min(self.ceiling or self.micro, self.micro)
        batch, micro = self.before_probe or [self.batch, self.micro]
        self.before_probe = None
        if micro >= self.ceiling:
            predicted = self._fitting()
            micro = max(self.smallest, min(predicted or self.micro // 2, self.ceiling - 1))
        limit = self.options.target_vram_usage + self.options.safety_margin
        return self._set(batch, micro, f"memory use {usage:.0%} is above {limit:.0%}", {"memory": usage})

    def _take_turns(self, speed: float) -> Sequence[Decision]:
        """Add a window of the comparison, and go on with the size of the next one."""
        assert self.before_probe is not None
        self.turns.append(speed)
        if len(self.turns) == len(TURNS):
            return self._judge(self.before_probe)
        batch, micro = self.probed if TURNS[len(self.turns)] == "new" else self.before_probe
        return self._set(batch, micro, f"probe {self.probes}: {micro} samples at once, in turns", {})

    def _judge(self, before: list[int]) -> Sequence[Decision]:
        """Keep the probed size, or revert it."""
        self.before_probe = None
        first, second, third, fourth = self.turns
        ratio = statistics.median((first / second, fourth / third))
        grown = self.batch / before[0]
        wanted = PAYS_PER_DOUBLING ** math.log2(grown) if grown > 1 else FASTER
        values = {"samples_per_second": (first + fourth) / 2, "before": (second + third) / 2}
        values |= {"memory": self.memory[self.micro]}
        if ratio >= wanted:
            return self._scaled_rate(values)
        self.refused.append(self.micro)
        reason = f"{self.micro} samples at once gave {ratio:.2f} times the samples/s, {wanted:.2f} times are required"
        batch, micro = before
        return self._set(batch, micro, reason, values)

    def _scaled_rate(self, values: dict[str, float]) -> Sequence[Decision]:
        if self.batch == self.configured:
            return ()
        factor = math.sqrt(self.batch / self.configured)
        reason = f"the batch of {self.batch} stays: square-root scaling of the rate"
        return (Decision(self.name, f"lr_factor/{self.name}", factor, reason, values),)

    def _fitting(self) -> int | None:
        """Largest micro-batch whose predicted memory is within the target; None while only one size is known."""
        if len(self.memory) < 2:
            return None
        slope, base = np.polyfit(list(self.memory), list(self.memory.values()), 1)
        if slope <= 0:
            return None
        return max(1, int((self.options.target_vram_usage - base) / slope))

    def _probe(self) -> Sequence[Decision]:
        """Try another size, if one is promising."""
        if self.options.mode == "maximize" and self.noise.value is None:
            return ()
        candidate = self._larger() or self._smaller()
        if candidate is None:
            return ()
        self.probes += 1
        self.before_probe, self.turns = [self.batch, self.micro], []
        batch = max(candidate, self.configured)
        self.probed = [batch, candidate]
        noise = self.noise.value
        values = {"noise_scale": noise} if noise is not None and math.isfinite(noise) else {}
        return self._set(batch, candidate, f"probe {self.probes}: {candidate} samples at once", values, probe=True)

    def _larger(self) -> int | None:
        fitting = self._fitting()
        if fitting is None:
            room = self.options.target_vram_usage / self.memory[self.micro]
            fitting = self.micro * FIRST_GROWTH if room > 1 else self.micro
        size = min(fitting, self.largest)
        refused = [r for r in self.refused if r > self.micro]
        if refused:  # between the sizes that were faster and those that were not
            size = min(size, (self.micro + min(refused)) // 2)
        if size > self.configured:
            size = size // self.configured * self.configured
        elif size > self.micro:
            size = max(s for s in range(self.micro, size + 1) if self.configured % s == 0)
        return size if size > self.micro and size not in self.refused else None

    def _smaller(self) -> int | None:
        """Half the micro-batch, which may fit the caches better; None once the batch has grown."""
        half = self.micro // 2
        known = half in self.memory or self.micro % 2 or self.batch > self.configured
        return half if half >= self.smallest and not known else None

    def _set(
        self, batch: int, micro: int, reason: str, values: dict[str, float], *, probe: bool = False
    ) -> Sequence[Decision]:
        made = partial(Decision, self.name, reason=reason, values=values, probe=probe)
        decisions = []
        micro = min(micro, batch)
        if batch != self.batch:
            decisions.append(made("batch_size", batch * self.world))
        if micro != self.micro:
            decisions.append(made("micro_batch", micro))
        self.batch, self.micro = batch, micro
        return decisions

    def state_dict(self) -> dict[str, Any]:
        """Current sizes, and what is known about the others."""
        names = "batch micro ceiling refused before_probe probed turns probes settled_at".split()
        state = {name: deepcopy(getattr(self, name)) for name in names}
        return state | {"known": list(self.memory.items()), "noise": self.noise.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        state = dict(state)
        self.noise.load_state_dict(state.pop("noise"))
        self.memory = {int(size): memory for size, memory in state.pop("known")}
        for name, value in state.items():
            setattr(self, name, value)


def build(options: BatchSizeOptions, context: RunContext) -> BatchSize:
    """Build the automation for a run."""
    return BatchSize(options, context.batch, context.micro_batch, context.world, context.smallest_micro_batch)
