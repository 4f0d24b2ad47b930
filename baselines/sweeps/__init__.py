"""Many runs: a grid of them, and the processes that work through it."""
