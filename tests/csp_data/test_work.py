"""Memory that is kept between arrays, seen from the page faults of a real process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, numpy as np
from csp_data.work import keep_freed
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(100_000) for _ in range(20)]
    del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
if {keep}:
    keep_freed()
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told to keep memory")
def test_the_pages_of_freed_arrays_are_used_again() -> None:
    kept, usual = (
        int(subprocess.check_output([sys.executable, "-c", FAULTS.format(keep=keep)])) for keep in (True, False)
    )
    assert usual > 1000  # 16 MB in pages of 4 KB are 3900
    assert kept < 100
