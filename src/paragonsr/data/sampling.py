"""Sampling of training patches, as a pure function of (seed, sample index).

It does not depend on workers, processes, micro-batches or resumes: sample n is image `order(n)`, cropped and augmented
according to a hash of (seed, n), and the order of an epoch is a function of (seed, epoch), with or without weights. The
hash is splitmix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators") used as a
counter-based generator, and an epoch's order is the sorting order of such hashes. Unlike numpy's generators, whose
streams may change between versions, it always stays the same.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from paragonsr.data.options import DatasetOptions
from paragonsr.data.packed import PackedDataset
from paragonsr.degradation.base import Degradation, DeviceDegradation
from paragonsr.errors import UserError
from paragonsr.resize import Image

if TYPE_CHECKING:
    import torch

UInt64s = NDArray[np.uint64]

_ORDER, _TOP, _LEFT, _HFLIP, _VFLIP, _TURN, _DRAWN = range(7)
"""Independent streams of hashes, one per purpose."""


@dataclass(frozen=True)
class Batch:
    """Patches of consecutive samples."""

    lq: NDArray[np.uint8] | None
    """N x p x p x 3 uint8 RGB; None where `degradation` makes the LR images on the device."""
    hr: NDArray[np.uint8]
    """N x s p x s p x 3 uint8 RGB, the same positions in the HR images, or in the teacher's output."""
    images: tuple[int, ...]
    """Index in the store of each patch's image."""
    names: tuple[str, ...]
    """Name of each patch's image."""
    samples: tuple[int, ...] = ()
    """Index of each sample."""
    degradation: DeviceDegradation | None = None
    """Makes the LR images on the device; None if `lq` holds them."""


class Sampler:
    """Cuts and augments patches from a store.

    Each epoch shows every image once, in a different order. With weights, an epoch of N samples shows an image
    N w / sum(w) times, rounded up or down so that the mean over epochs is exact: systematic sampling (Madow and Madow
    1944, "On the theory of systematic sampling"). Equal weights give the same epochs as no weights.

    Args:
        store: packed images.
        options: patch size and augmentation.
        scale: HR side / LR side.
        seed: any integer; taken modulo 2^64.

    Raises:
        UserError: the options set no patch size.
    """

    def __init__(self, store: PackedDataset, options: DatasetOptions, scale: int, seed: int) -> None:
        patch = options.lq_patch(scale)
        if patch is None:
            raise UserError(
                "the size of the training patches is missing",
                where="datasets.train",
                fix="Set lq_size (in LR pixels) or gt_size (in HR pixels).",
            )
        self.store, self.scale, self.patch = store, scale, patch
        self._hflip, self._rot = options.use_hflip, options.use_rot
        self._seed = seed
        self._heights, self._widths = store.lr_shapes.T.astype(np.uint64)
        self._ends = None if store.weights is None else np.cumsum(store.weights)
        chosen = options.degrades()
        self._degradation = chosen.build(scale=scale, seed=seed) if chosen else None
        self._order = lru_cache(maxsize=4)(self._shuffled)

    def degrade_on(self, device: "torch.device") -> None:
        """Compute on a device what the degradation can compute there.

        Raises:
            UserError: it has no such part.
        """
        if isinstance(self._degradation, Degradation):
            self._degradation = self._degradation.on(device)

    def batch(self, first_sample: int, count: int) -> Batch:
        """Samples first_sample .. first_sample + count - 1 of the infinite sequence, counted from 0."""
        samples = np.arange(first_sample, first_sample + count, dtype=np.uint64)
        images = self._images(samples)
        top = self._below(self._heights[images] - np.uint64(self.patch - 1), samples, _TOP)
        left = self._below(self._widths[images] - np.uint64(self.patch - 1), samples, _LEFT)
        hflip, vflip, turn = (
            self._coin(samples, stream) & wanted
            for stream, wanted in ((_HFLIP, self._hflip), (_VFLIP, self._rot), (_TURN, self._rot))
        )
        places = list(zip(images.tolist(), top.tolist(), left.tolist(), strict=True))
        turned = list(zip(hflip.tolist(), vflip.tolist(), turn.tolist(), strict=True))
        hr = self._patches(self.store.hr, places, turned, self.scale)
        if self.store.teacher is not None:
            hr = self.store.teacher.mixed(hr, self._patches(self.store.teacher.image, places, turned, self.scale))
        positions, numbers = tuple(images.tolist()), tuple(samples.tolist())
        names = tuple(self.store.names[i] for i in positions)
        degradation = self._degradation
        if isinstance(degradation, DeviceDegradation):
            return Batch(None, hr, positions, names, numbers, degradation)
        if degradation is None:
            lq = self._patches(self.store.lq, places, turned, 1)
        else:
            lq = np.stack([degradation.degrade(patch, n) for patch, n in zip(hr, numbers, strict=True)])
        return Batch(lq, hr, positions, names, numbers)

    def _patches(
        self,
        images: Callable[[int], Image],
        places: Sequence[tuple[int, int, int]],
        turned: Sequence[tuple[bool, bool, bool]],
        factor: int,
    ) -> NDArray[np.uint8]:
        """Cut and augment patches; positions and sizes are in LR pixels, times `factor`."""
        side = self.patch * factor
        patches = np.empty((len(places), side, side, 3), np.uint8)
        for i, (image, top, left) in enumerate(places):
            y, x = factor * top, factor * left
            patches[i] = augmented(images(image)[y : y + side, x : x + side], *turned[i])
        return patches

    def _images(self, samples: UInt64s) -> NDArray[np.intp]:
        epochs, positions = np.divmod(samples, np.uint64(len(self.store)))
        images = np.empty(len(samples), np.intp)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            images[here] = self._order(int(epoch))[positions[here]]
        return images

    def _shuffled(self, epoch: int) -> NDArray[np.intp]:
        count = len(self.store)
        counters = np.arange(epoch * count, (epoch + 1) * count, dtype=np.uint64)
        order = np.argsort(hashes(self._seed, _ORDER, counters), kind="stable")
        return order if self._ends is None else self._drawn(epoch, self._ends)[order]

    def _drawn(self, epoch: int, ends: NDArray[np.float64]) -> NDArray[np.intp]:
        """Images of an epoch with weights: those hit by N equally spaced points with a random offset.

        Args:
            epoch: counted from 0.
            ends: ends of the images' shares laid side by side, the cumulative sum of the weights.
        """
        count = len(ends)
        shift = float(hashes(self._seed, _DRAWN, np.array([epoch], np.uint64))[0] >> np.uint64(11)) / 2**53
        points = (np.arange(count) + shift) * (ends[-1] / count)
        # Rounding may move a point to the end of the last share.
        return np.minimum(np.searchsorted(ends, points, side="right"), count - 1)

    def _below(self, bounds: UInt64s, samples: UInt64s, stream: int) -> UInt64s:
        """Uniform integers in 0 .. bound - 1 (bounds below 2^32; the bias is below bound / 2^32)."""
        return (hashes(self._seed, stream, samples) >> np.uint64(32)) * bounds >> np.uint64(32)

    def _coin(self, samples: UInt64s, stream: int) -> NDArray[np.bool_]:
        return hashes(self._seed, stream, samples) >> np.uint64(63) != 0


def augmented(image: Image, hflip: bool, vflip: bool, turn: bool) -> Image:
    """Apply one of the eight symmetries of a square, as a view: flips first, then a transpose."""
    view = image[:: -1 if vflip else 1, :: -1 if hflip else 1]
    return view.transpose(1, 0, 2) if turn else view


def hashes(seed: int, stream: int, counters: UInt64s) -> UInt64s:
    """Uniform 64-bit numbers, one per (seed, stream, counter)."""
    key = _mixed(np.array([seed % 2**64], np.uint64))
    key = _mixed(key ^ np.uint64(stream + 1))
    return _mixed(key + counters * np.uint64(0x9E3779B97F4A7C15))


def _mixed(z: UInt64s) -> UInt64s:
    """Output function of splitmix64, a bijection."""
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class Prefetcher:
    """Computes the batches that will probably be requested next, in threads.

    The result is always `sampler.batch(first, count)`; a request that was not predicted is computed when it comes. The
    prediction is that the next requests have the same count and the same distance as the last two.

    Args:
        sampler: source of the batches.
        depth: number of batches that each thread may compute ahead.
        workers: number of threads; 0 computes every batch on request.
    """

    waited: float = 0.0
    """Seconds that the last call of `batch` blocked."""

    def __init__(self, sampler: Sampler, depth: int = 2, workers: int = 2) -> None:
        self.sampler = sampler
        self._reach = depth * workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="paragonsr-batch") if workers else None
        self._ahead: dict[tuple[int, int], Future[Batch]] = {}
        self._last: int | None = None

    def batch(self, first_sample: int, count: int) -> Batch:
        """Same result and exceptions as `sampler.batch`."""
        begin = time.perf_counter()
        ready = self._ahead.pop((first_sample, count), None)
        if self._pool is not None:
            self._look_ahead(self._pool, first_sample, count)
        if ready is None or ready.exception() is not None:
            # What failed ahead may succeed now: a degradation on a device finds memory that the step has freed.
            batch = self.sampler.batch(first_sample, count)
        else:
            batch = ready.result()
        self.waited = time.perf_counter() - begin
        return batch

    def _look_ahead(self, pool: ThreadPoolExecutor, first: int, count: int) -> None:
        stride = count if self._last is None or first <= self._last else first - self._last
        self._last = first
        wanted = [(first + k * stride, count) for k in range(1, self._reach + 1)]
        for stale in self._ahead.keys() - set(wanted):
            self._ahead.pop(stale).cancel()
        for request in wanted:
            if request not in self._ahead:
                self._ahead[request] = pool.submit(self.sampler.batch, *request)

    def close(self) -> None:
        """End the threads; no batches can be requested afterwards."""
        self._ahead.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> "Prefetcher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
