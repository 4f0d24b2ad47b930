"""What a table of runs holds: a row a model, over its seeds, and what they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from baselines.presets import STATE_SPACES
from baselines.tables.digits import bracketed, squared
from baselines.tables.labels import base_name, is_reference
from baselines.tables.significance import Comparison

__all__ = ["Hierarchy", "Row", "Table", "kind_label"]

MIXED = "mixed units"
CHOSEN_ON_REPORT = "best epoch chosen on the reported part itself, as published"


def kind_label(kind: str) -> str:
    """Return what recordings are, and what they are not."""
    return f"{kind}, not CSP-Bench" if kind in ("real recordings", "simulated") else kind


@dataclass(frozen=True)
class Row:
    """A model, over its seeds.

    Parameters
    ----------
    model
        Its name; models that share one are told apart by what differs (:func:`baselines.tables.labels.by_label`).
    parameters
        Values that were learned.
    seeds
        In order.
    val_mse, test_mse, test_rmse
        Means over the seeds, in physical units, of the parts that :class:`Table` names.
    test_mse_std, test_rmse_std
        Standard deviations over the seeds (n - 1); ``None`` for one seed.
    improvement
        1 - test MSE / test MSE of the training mean; ``None`` without that reference, and where it has no error.
    seconds
        Mean time to fit.
    comparison
        With the table's :attr:`Table.against` on the same recordings; ``None`` for that row itself, and where
        the runs hold no errors of recordings.
    published, converted
        Published error of the model, and the mean error in its unit (:attr:`Quantities.published_factors`);
        ``None`` where there is none that could be compared: only real CSP-Bench under the published protocol.
    """

    model: str
    parameters: int
    seeds: tuple[int, ...]
    val_mse: float
    test_mse: float
    test_mse_std: float | None
    test_rmse: float
    test_rmse_std: float | None
    improvement: float | None
    seconds: float
    comparison: Comparison | None = None
    published: float | None = None
    converted: float | None = None

    @property
    def kind(self) -> str:
        """``"reference"``, ``"flat"``, ``"hiss"``, or ``"own"`` for a user's model or predictions."""
        return "reference" if is_reference(self.model) else base_name(self.model).split("-")[0]

    @property
    def state_spaces(self) -> bool:
        """Whether it is HiSS in the paper's sense: a hierarchy with a state-space model at every level."""
        return self.kind == "hiss" and {*base_name(self.model).split("-")[1:]} <= STATE_SPACES


def best_on_val(rows: Sequence[Row]) -> Row:
    """Return the learned model with the lowest error on the part for choosing; without one, the reference."""
    learned = [row for row in rows if row.kind != "reference"] or rows
    return min(learned, key=lambda row: row.val_mse)


@dataclass(frozen=True)
class Hierarchy:
    """The best HiSS model against the best flat one, both by the reported error, as published.

    Parameters
    ----------
    hiss
        A hierarchy with a state-space model at every level (:data:`baselines.presets.STATE_SPACES`), as in the
        published row.
    flat
        A model with one level, of any kind.
    improvement
        1 - error of `hiss` / error of `flat`: above 0, the hierarchy wins.
    comparison
        Of `hiss` with `flat` over recordings and seeds, a single comparison; ``None`` where it cannot be made.
    published
        The published improvement, where it can be compared.
    """

    hiss: str
    flat: str
    improvement: float
    comparison: Comparison | None
    published: float | None


@dataclass(frozen=True)
class Table:
    """Rows, best test error last, and what they are about.

    Parameters
    ----------
    dataset, kind, protocol, recipe_hash
        Shared by all runs.
    selection, report
        Part that epochs were chosen on (``val_mse``), and part that is reported (``test_mse``, ``test_rmse``).
    unit
        Of the targets; ``"mixed units"`` where they differ.
    context
        Lengths in seconds of the windows that the models see; ``None`` for whole episodes.
    rows
        One a model.
    against
        Model that the others are compared with: of the learned ones the lowest on the part for choosing, so that
        the reported part does not choose it; ``None`` where nothing can be compared.
    hierarchy
        Where there are HiSS and flat models.
    folds
        How many folds of a cross-validation are put together; ``None`` where it is none.
    fold_by
        What each fold holds whole.
    groups
        How many groups its recordings are of; ``None`` where the rows do not tell.
    fold
        Which fold of how many, where the runs are of one alone; ``None`` otherwise.
    variant
        What tells its data from those of other tables of the data set; empty for what those are variants of.
    numbered
        Sentences that say what the numbers behind models' names mean.
    mixture
        Sentence on what errors over targets of several units are; empty where they have one.
    looks_ahead
        Rows of models of one's own whose outputs were seen to depend on samples after their chunk.
    elsewhere
        Rows of what was trained elsewhere (:func:`baselines.record`).
    names
        What rows, and in an overview data, are called where people read them.
    """

    dataset: str
    kind: str
    protocol: str
    recipe_hash: str
    selection: str
    report: str
    unit: str
    context: tuple[float | None, ...]
    rows: tuple[Row, ...]
    against: str | None = None
    hierarchy: Hierarchy | None = None
    folds: int | None = None
    fold_by: str = "group"
    groups: int | None = field(default=None, compare=False)
    fold: tuple[int, int] | None = None
    variant: str = ""
    numbered: tuple[str, ...] = ()
    mixture: str = ""
    looks_ahead: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def called(self, name: str) -> str:
        """Return what people read for the name of a row, or of the data in an overview."""
        return self.names.get(name, name)

    def __repr__(self) -> str:
        from baselines.tables.render import render

        return render(self, "text").rstrip()

    def _repr_html_(self) -> str:
        from baselines.tables.render import render

        return render(self, "html")

    @property
    def name(self) -> str:
        """Data set, what tells these data from others of it, and which fold where it is one alone."""
        fold = "" if self.fold is None else f"fold {self.fold[0]} of {self.fold[1]}"
        return ", ".join(filter(None, (self.dataset, self.variant, fold)))

    @property
    def against_kind(self) -> str:
        """What :attr:`against` is: a reference only where no model was learned."""
        learned = any(row.model == self.against and row.kind != "reference" for row in self.rows)
        return "learned model" if learned else "reference"

    @property
    def kind_label(self) -> str:
        """What the recordings are, and what they are not."""
        return kind_label(self.kind)

    @property
    def context_label(self) -> str:
        """How much of an episode a model sees at once."""
        return " or ".join("whole episodes" if c is None else f"windows of {c:g} s" for c in self.context)

    @property
    def unit_label(self) -> str:
        """Unit as it stands behind an error; empty where the targets' units differ, or where they have none."""
        return "" if self.unit == MIXED else bracketed(self.unit)

    @property
    def squared_unit(self) -> str:
        """Unit of a mean squared error, as :attr:`unit_label`."""
        return "" if self.unit == MIXED else squared(self.unit)

    @property
    def squared_unit_label(self) -> str:
        """The same behind the name of a column: in brackets, where it has none of its own."""
        unit = self.squared_unit
        return f" {unit}" if unit.startswith("(") else bracketed(unit)

    @property
    def heading(self) -> str:
        """Data set, kind, protocol and context in one line."""
        folds = f"{self.folds} folds{'' if self.fold_by == 'group' else f' by {self.fold_by}'}"
        return (
            f"{self.name}: {self.kind_label}; protocol {self.protocol}, recipe {self.recipe_hash}; "
            f"{self.context_label}{'; ' + CHOSEN_ON_REPORT if self.selection == self.report else ''}"
            f"{f'; {folds}, in which each recording is in {self.report} once' if self.folds else ''}"
        )
