"""The report of the conformity checks (:mod:`csp_data.authoring.conformity` runs them)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from csp_data.errors import VerificationError

__all__ = ["Check", "SourceReport", "Status"]

Status = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """What one check found: ``details`` has a line for each problem, or one that says what was looked at."""

    name: str
    status: Status
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceReport:
    """The results of all conformity checks of a data set.

    Parameters
    ----------
    name, root
        The data set, and the folder of the raw files that were read.
    checks
        One for each part of the suite, in order.
    """

    name: str
    root: Path
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed; there may be warnings."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.status == "failed")

    def raise_for_failures(self) -> None:
        """Raise :class:`~csp_data.errors.VerificationError` with the whole report if a check failed."""
        if not self.ok:
            raise VerificationError(str(self))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        checks = [asdict(check) for check in self.checks]
        return {"name": self.name, "root": str(self.root), "ok": self.ok, "checks": checks}

    def __repr__(self) -> str:
        lines = [f"{self.name} in {self.root}"]
        width = max((len(check.name) for check in self.checks), default=0)
        for check in self.checks:
            first, *more = check.details or ("",)
            lines.append(f"  {check.status:<8} {check.name:<{width}} {first}".rstrip())
            lines += [f"{'':<{width + 12}}{detail}" for detail in more]
        skipped = sum(check.status == "skipped" for check in self.checks)
        warned = sum(check.status == "warning" for check in self.checks)
        passed = len(self.checks) - len(self.failures) - skipped
        counts = f"{passed} of {len(self.checks)} checks passed{f', {skipped} skipped' if skipped else ''}"
        counts += f", {warned} with a warning" if warned else ""
        return "\n".join([*lines, counts if self.ok else f"{counts}; docs/howto-own-data.md says what each means"])
