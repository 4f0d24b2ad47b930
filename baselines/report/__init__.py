"""Runs as one self-contained HTML page (needs matplotlib)."""

from baselines.report.build import datasets_of, make_report, write_report

__all__ = ["datasets_of", "make_report", "write_report"]
