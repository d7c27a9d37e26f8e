"""Detection of lost training processes: the remaining ones report which are gone."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch.distributed as dist

from paragonsr.errors import UserError

PATIENCE_SECONDS = 3.0
"""Time that an exiting process may take to disappear."""


@dataclass(frozen=True)
class Peer:
    """One process."""

    rank: int
    host: str
    pid: int

    @property
    def lost(self) -> bool:
        """Whether the process has ended; always False for a process on another host."""
        if self.host != socket.gethostname():
            return False
        try:
            return psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True


def find_peers(rank: int, world: int) -> list[Peer]:
    """All processes of the group, including this one; waits until they have joined."""
    found: list[Peer | None] = [None] * world
    dist.all_gather_object(found, Peer(rank, socket.gethostname(), os.getpid()))
    return [peer for peer in found if peer is not None]


@contextmanager
def naming_lost_peers(peers: list[Peer]) -> Iterator[None]:
    """Turn the failure of a collective operation into an error that names the lost processes.

    Raises:
        UserError: a process on this host has ended.
    """
    try:
        yield
    except RuntimeError as error:
        end = time.monotonic() + PATIENCE_SECONDS
        while not (lost := [peer for peer in peers if peer.lost]) and time.monotonic() < end and len(peers) > 1:
            time.sleep(0.1)
        if not lost:
            raise
        names = ", ".join(f"rank {peer.rank} of {len(peers)} (pid {peer.pid} on {peer.host})" for peer in lost)
        raise UserError(
            f"{names} has ended, and the others cannot continue without it",
            where="torchrun",
            fix="Look for its error message, or for the OOM killer in the system log. "
            "The same command continues from the last checkpoint.",
        ) from error
