"""Work handed to other processes, on this machine or on a Dask cluster; a process that dies costs one item at most."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from paragonsr.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

DIED = "its worker process died: out of memory, or a crash of a decoder"


class Crew(AbstractContextManager["Crew"]):
    """The processes that do the work.

    Args:
        workers: processes on this machine; default one for each processor core. On a Dask cluster its own count.
        scheduler: address of a Dask scheduler, `tcp://HOST:PORT`; its workers must see the files under the same paths.

    Raises:
        UserError: Dask is not installed, or the scheduler does not answer.
    """

    def __init__(self, workers: int | None = None, scheduler: str | None = None) -> None:
        self._wanted, self._scheduler = workers, scheduler
        self._client: Any = None
        if scheduler is not None:
            self._client = _connected(scheduler)
        self._executor = self._opened()

    @property
    def size(self) -> int:
        """Processes that work at once."""
        if self._client is not None:
            return max(1, sum(self._client.nthreads().values()))
        return self._wanted or cores()

    def require_sight(self, folder: Path) -> None:
        """See that workers on other machines have this package, and a folder under the same path.

        Raises:
            UserError: they lack the package; or naming those that do not see the folder.
        """
        if self._client is None:
            return
        try:
            seen = self._client.run(_is_folder, str(folder))
        except ImportError as error:
            raise UserError(
                f"a worker lacks this package: {error}",
                where=self._scheduler or "",
                fix="Install the same version of it on every machine.",
            ) from error
        blind = [address for address, sees in seen.items() if not sees]
        if blind:
            raise UserError(
                f"{len(blind)} workers do not see {folder}: {', '.join(sorted(blind)[:5])}",
                where=self._scheduler or "",
                fix="Share the folder under the same path on every machine.",
            )

    def submit(self, work: Callable[[Sequence[Item]], Result], items: Sequence[Item]) -> Future[Result]:
        """Have the items worked on; `work` must be importable in the other process."""
        with _deaf_to_interrupts():  # which processes that are started here inherit
            try:
                return self._executor.submit(work, items)
            except BrokenProcessPool:
                self._executor = self._opened()
                return self._executor.submit(work, items)

    def _opened(self) -> Executor:
        if self._client is not None:
            executor: Executor = self._client.get_executor(pure=False)
            return executor
        # Not forked: this process has threads (the progress bar), whose locks a fork would copy as they stand.
        return ProcessPoolExecutor(
            self.size, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent
        )

    def __exit__(self, *_: object) -> None:
        if self._client is None:
            self._executor.shutdown(cancel_futures=True)
        else:
            self._executor.shutdown(wait=False)
            self._client.close()


def in_parallel(
    crew: Crew,
    work: Callable[[Sequence[Item]], Result],
    batches: Iterable[Sequence[Item]],
    lost: Callable[[Item, str], Result],
) -> Iterator[Result]:
    """Results of all batches, as they come.

    At most three batches for each process are under way: what waits is never more than that, however many there are.
    When a process dies, the batches that were under way are repeated item by item, so that the one which killed it is
    found and the others are not lost.

    Args:
        crew: who works.
        work: is given a batch; it answers for what is wrong with an item itself. What it raises is raised here.
        batches: taken as they are needed.
        lost: the result for an item whose process died, and why.
    """
    source = iter(batches)
    under_way: dict[Future[Result], Sequence[Item]] = {}
    suspects: list[Sequence[Item]] = []
    exhausted = False
    try:
        while under_way or suspects or not exhausted:
            room = 3 * crew.size
            while not exhausted and not suspects and len(under_way) < room:
                batch = next(source, None)
                exhausted = batch is None
                if batch is not None:
                    under_way[crew.submit(work, batch)] = batch
            for future in wait(under_way, return_when=FIRST_COMPLETED).done if under_way else ():
                batch = under_way.pop(future)
                if _died(future):
                    suspects.append(batch)
                else:
                    yield future.result()
            if suspects and not under_way:
                yield from _one_by_one(crew, work, suspects, lost)
                suspects.clear()
    finally:
        for future in under_way:
            future.cancel()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _one_by_one(
    crew: Crew,
    work: Callable[[Sequence[Item]], Result],
    batches: Iterable[Sequence[Item]],
    lost: Callable[[Item, str], Result],
) -> Iterator[Result]:
    for batch in batches:
        for item in batch:
            future = crew.submit(work, [item])
            wait([future])
            yield lost(item, DIED) if _died(future) else future.result()


def _is_folder(path: str) -> bool:
    """Found in this module by name, so that a worker can only answer if it has the package."""
    return os.path.isdir(path)


def _died(future: Future[Any]) -> bool:
    """Whether the process was lost, as opposed to `work` having raised something."""
    try:
        error = future.exception()
    except CancelledError:  # by Dask's client, which has no one any more to ask for the result
        raise UserError(
            "the Dask scheduler does not answer any more",
            fix="Start it and its workers again, then run the same command to continue.",
        ) from None
    return isinstance(error, BrokenProcessPool) or type(error).__name__ == "KilledWorker"


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Ctrl-C goes to all processes of a terminal; only the one that was started is to answer it, after the block."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    interrupts: list[tuple[int, FrameType | None]] = []
    handler = signal.getsignal(signal.SIGINT)
    # The mask is what new processes inherit. Here another thread, a library's, may still be given the signal, and the
    # main one would then stop amid the start of a process.
    deferred = callable(handler) and threading.current_thread() is threading.main_thread()
    if deferred:
        signal.signal(signal.SIGINT, lambda number, frame: interrupts.append((number, frame)))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if deferred:
            signal.signal(signal.SIGINT, handler)
    if interrupts and callable(handler):
        handler(*interrupts[0])


def _end_with_parent() -> None:
    """In a worker: end when the process that handed out the work was killed, instead of waiting for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _connected(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise UserError("--scheduler needs the package distributed", fix="pip install 'paragonsr[cluster]'") from None
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it has to say, we say in one line
    try:
        client = Client(address, timeout="10s")
        client.wait_for_workers(1, timeout=30)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(
            f"no Dask scheduler with a worker answers: {error}",
            where=address,
            fix="Start one with `dask scheduler` and its workers with `dask worker tcp://HOST:8786`.",
        ) from None
    return client
