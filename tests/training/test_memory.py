"""What a step frees stays with the process."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, torch
from paragonsr.training.engine.memory import keep_freed_memory
def step(mib):
    tensors = [torch.ones(mib * 2**18) for _ in range(6)]
def faults(mib):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        step(mib)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
ctypes.CDLL(None).mallopt(-3, 128 * 1024)  # where glibc begins; it may adapt, which depends on addresses
for _ in range(2):
    faults(24)
    print(faults(24))
    keep_freed_memory()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_steps_reuse_the_memory_of_the_last_one() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    returned, kept = map(int, done.stdout.split())
    assert kept < 100 < returned


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_what_the_environment_says_is_not_changed() -> None:
    given = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, env=given)
    assert all(int(count) > 100 for count in done.stdout.split())
