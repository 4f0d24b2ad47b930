"""Let torch's waiting threads sleep soon; the command line imports this before torch.

The OpenMP library that torch brings reads this once, when it is loaded. By default its threads look for work for
milliseconds before they sleep, and take the processor from those that have some: our own compiled loops in the
same step, or other processes. Threads that never spin wake too late for the next of a step's many short products;
ten thousand turns, some ten microseconds, lie between (docs/performance.md).
"""

import os

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
