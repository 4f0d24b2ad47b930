"""Lets torch's threads sleep while they wait; imported by the command line before torch is.

The OpenMP library that torch brings reads this once, when it is loaded. By default its threads look for work for
milliseconds before they sleep, and take the processor from those that have some: our own compiled loops in the
same step, or other processes. A step with two threads took 3.3 times the processor time on a busy machine.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
