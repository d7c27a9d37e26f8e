"""The batch that uses the machine best without running out of memory."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from paragonsr.automation.context import RunContext
from paragonsr.automation.noise_scale import NoiseScale
from paragonsr.automation.options import BatchSizeOptions
from paragonsr.automation.protocol import Decision, Measurements, Observation, Steps

MOST_PROBES = 5
PAYS_PER_DOUBLING = math.sqrt(2)
"""Samples/s of a doubled batch against those of the present one. A doubled batch makes half the updates at sqrt(2)
times the rate; where the rate limits progress, equal times bring as much only with sqrt(2) times the samples."""
FASTER = 1.05
"""Samples/s of another micro-batch against those of the present one that is worth a change of rounding."""
QUICK = 25
"""Percentile of the seconds per step that is taken: what else the machine does can only make steps slower."""
WINDOWS = 5
"""Latest windows of a size of which the quickest counts, so that a size that was slowed for a moment does not make
another one look quick."""
FIRST_GROWTH = 2
"""Growth of the first probe, which there is no prediction for yet."""


class BatchSize:
    """Measures real steps, learns memory and speed of each size, and takes the best that fits.

    `throughput` keeps the batch and changes only how many samples go through the network at once (the micro-batch):
    the same gradient to rounding. `maximize` also grows the batch, in multiples of the configured one, where the
    gradient-noise scale exceeds the new batch and samples/s rise by at least 41% per doubling; the rate then grows by
    the square root (2205.10287). Every new size is a probe: it is announced, tried for one window and kept or taken
    back. Memory of a size is predicted by a straight line through the measured ones. There are at most five probes;
    after them the memory is only watched.

    Args:
        options: mode, target, margin, frequency, bounds.
        batch: samples of the configured batch, of one process.
        micro: samples of the configured micro-batch.
        world: processes.
    """

    name = "dynamic_batch_size_optimizer"
    watches = "peak memory, seconds per step, gradient norms of half and whole batches"
    may_change = "micro_batch, batch_size, lr_factor/dynamic_batch_size_optimizer"

    def __init__(self, options: BatchSizeOptions, batch: int, micro: int, world: int) -> None:
        self.options, self.configured, self.world = options, batch, world
        self.batch, self.micro = batch, micro
        self.noise = NoiseScale()
        self.memory: dict[int, float] = {}
        """Micro-batch -> share of the memory at the peak."""
        self.speeds: dict[int, list[float]] = {}
        """Micro-batch -> samples per second in the latest windows."""
        self.ceiling: int | None = None
        """Smallest micro-batch that is known not to fit."""
        self.refused: list[int] = []
        """Micro-batches that fitted and were not worth it."""
        self.before_probe: list[int] | None = None
        """[batch, micro] to return to; None while nothing is tried."""
        self.probes = 0
        self.settled_at = 0

    def observe(self, observation: Observation) -> Sequence[Decision]:
        """Look at a window of steps, or learn that a trial ended the process."""
        if isinstance(observation, Measurements) and observation.kind == "interrupted size probe":
            return self._failed(int(observation.values["micro_batch"]), "the process ended while it was tried", 0)
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
            return ()  # The last step of a run may be smaller; in a dry run a size that was asked for is never tried.
        self.memory[self.micro] = usage
        quick = self.batch * self.world / float(np.percentile(values["seconds"][whole], QUICK))
        self.speeds[self.micro] = [*self.speeds.get(self.micro, []), quick][-WINDOWS:]
        if usage > self.options.target_vram_usage + self.options.safety_margin and self.micro > self.smallest:
            self.settled_at = observation.iteration
            return self._shrink(usage)
        if self.before_probe is not None:
            self.settled_at = observation.iteration
            return self._judge()
        if observation.iteration - self.settled_at < self.options.adjustment_frequency or self.probes >= MOST_PROBES:
            return ()
        return self._probe()

    @property
    def smallest(self) -> int:
        """Least micro-batch that may be used."""
        return min(self.options.min_batch_size, self.configured)

    @property
    def largest(self) -> int:
        """Largest micro-batch that the bounds, the noise scale and the known failures leave, of one process."""
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
        """A size did not fit: never again, and back to what did."""
        self.ceiling = min(self.ceiling or tried, tried)
        batch, micro = self.before_probe or [self.batch, worked or self.micro]
        self.before_probe = None
        fitting = max(1, min(micro, self.ceiling - 1))
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

    def _judge(self) -> Sequence[Decision]:
        """Keep the size that was tried, or take it back."""
        assert self.before_probe is not None
        batch, micro = self.before_probe
        self.before_probe = None
        now, before = max(self.speeds[self.micro]), max(self.speeds[micro])
        ratio = now / before
        grown = self.batch / batch
        wanted = PAYS_PER_DOUBLING ** math.log2(grown) if grown > 1 else FASTER
        values = {"samples_per_second": now, "before": before}
        values |= {"memory": self.memory[self.micro]}
        if ratio >= wanted:
            return self._scaled_rate(values)
        self.refused.append(self.micro)
        reason = f"{self.micro} samples at once gave {ratio:.2f} times the samples/s, {wanted:.2f} times are required"
        return self._set(batch, micro, reason, values)

    def _scaled_rate(self, values: dict[str, float]) -> Sequence[Decision]:
        if self.batch == self.configured:
            return ()
        factor = math.sqrt(self.batch / self.configured)
        reason = f"the batch of {self.batch} stays: square-root scaling of the rate"
        return (Decision(self.name, f"lr_factor/{self.name}", factor, reason, values),)

    def _fitting(self) -> int | None:
        """Largest micro-batch whose predicted memory is within the target; None while one size is known."""
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
        self.before_probe = [self.batch, self.micro]
        batch = max(candidate, self.configured)
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
        if refused:  # between what paid and what did not
            size = min(size, (self.micro + min(refused)) // 2)
        if size > self.configured:
            size = size // self.configured * self.configured
        elif size > self.micro:
            size = max(s for s in range(self.micro, size + 1) if self.configured % s == 0)
        return size if size > self.micro and size not in self.refused else None

    def _smaller(self) -> int | None:
        """Half the micro-batch, which caches may like better; not once the batch has grown."""
        half = self.micro // 2
        known = half in self.speeds or self.micro % 2 or self.batch > self.configured
        return half if half >= self.smallest and not known else None

    def _set(
        self, batch: int, micro: int, reason: str, values: dict[str, float], *, probe: bool = False
    ) -> Sequence[Decision]:
        decisions = []
        micro = min(micro, batch)
        if batch != self.batch:
            wanted = batch * self.world
            decisions.append(Decision(self.name, "batch_size", wanted, reason, values, probe=probe))
        if micro != self.micro:
            decisions.append(Decision(self.name, "micro_batch", micro, reason, values, probe=probe))
        self.batch, self.micro = batch, micro
        return decisions

    def state_dict(self) -> dict[str, Any]:
        """Sizes in force and what is known about others."""
        names = "batch micro ceiling refused before_probe probes settled_at".split()
        known = [[size, self.memory[size], self.speeds[size]] for size in self.memory]
        return {name: getattr(self, name) for name in names} | {"known": known, "noise": self.noise.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        state = dict(state)
        self.noise.load_state_dict(state.pop("noise"))
        known = state.pop("known")
        self.memory = {int(size): memory for size, memory, _ in known}
        self.speeds = {int(size): list(speeds) for size, _, speeds in known}
        for name, value in state.items():
            setattr(self, name, value)


def build(options: BatchSizeOptions, context: RunContext) -> BatchSize:
    """The automation of a run."""
    return BatchSize(options, context.batch, context.micro_batch, context.world)
