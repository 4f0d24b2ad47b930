"""One module for each command of ``csp-baselines``, and the options that they share."""
