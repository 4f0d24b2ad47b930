"""Runs as one self-contained HTML page (needs matplotlib)."""

from baselines.report.build import make_report, write_report

__all__ = ["make_report", "write_report"]
