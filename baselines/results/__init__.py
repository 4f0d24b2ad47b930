"""Finished runs as rows: typed, with what is needed to trace each, kept as CSV files that ship with the package.

A study is a few files in this folder:

===========================  =================================================================================
``STUDY.csv``                one line per run: data, model, seed, commit, machine, errors (:class:`Result`)
``STUDY.recordings.csv``     one line per run and reported recording (:class:`Recording`)
``STUDY.targets.csv``        one line per run and target channel, in SI units (:class:`Target`)
``STUDY.configs.json``       every choice of data, model and training, by the hash that the runs' lines name
===========================  =================================================================================

``scripts/make_results.py add`` puts finished runs into a study; tables in the docs are made from them.
"""

from baselines.results.rows import Recording, Result, Target
from baselines.results.studies import Results, collect, load_results, merged, studies, write_study
from baselines.results.text import ResultsError

__all__ = [
    "Recording",
    "Result",
    "Results",
    "ResultsError",
    "Target",
    "collect",
    "load_results",
    "merged",
    "studies",
    "write_study",
]
