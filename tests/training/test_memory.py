"""What a step frees stays with the process."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from paragonsr.training.engine.memory import keep_freed_memory
def faults(mib):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        tensors = [torch.ones(mib * 2**18) for _ in range(6)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(4)
print(faults(4))
keep_freed_memory()
for mib in (4, 31):
    faults(mib)
    print(faults(mib))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_steps_reuse_the_memory_of_the_last_one() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    returned, *kept = map(int, done.stdout.split())
    assert returned > 1000
    assert max(kept) < 100
