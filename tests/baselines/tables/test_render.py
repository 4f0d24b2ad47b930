"""How many digits a table shows, against decimal arithmetic."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.tables.digits import Scale, bracketed, number, p_value, signed, spread
from baselines.tables.render import cells, columns, lowest_two, notes, overview, render, render_all
from baselines.tables.significance import Comparison
from baselines.tables.table import Row, Table

SIZE = st.floats(1e-7, 1e6)
SIGNED = st.tuples(SIZE, st.sampled_from([-1, 1])).map(lambda pair: pair[0] * pair[1])


def digits(value: float, count: int) -> Decimal:
    """Round the exact value of a float to so many digits."""
    return Context(prec=count, rounding=ROUND_HALF_EVEN).plus(Decimal(value))


def place(value: float, count: int) -> int:
    """Return the decimals, perhaps below 0, of the last of so many digits."""
    return count - 1 - digits(value, count).adjusted()


def last(value: Decimal) -> int:
    """Return the decimals of a number as it is written."""
    return -int(value.as_tuple().exponent)


@given(st.floats(1e-6, 1))
def test_a_p_shows_on_which_side_of_a_twentieth_it_lies(p: float) -> None:
    """0.0496 with a mark and 0.0504 without one both read 0.05."""
    shown = p_value(p)
    assert (Decimal(shown) < Decimal("0.05")) == (p < 0.05)
    assert shown == f"{p:.2g}" or 0.0495 <= p < 0.0506


@given(st.floats(-1e3, 1e3), st.integers(0, 4))
def test_a_difference_that_is_rounded_to_nothing_is_no_negative_one(value: float, decimals: int) -> None:
    shown = signed(value, decimals)
    assert shown.startswith("-") == (round(Decimal(value), decimals) < 0)
    assert Decimal(shown) == round(Decimal(value), decimals)


@pytest.mark.parametrize(
    ("mean", "std", "cell"),
    [
        (0.6775, 0.00354, "0.6775 ± 0.0035"),
        (0.1234, 0.0092, "0.1234 ± 0.0092"),
        (1.355, 0.0996, "1.35 ± 0.10"),  # 0.0996 has the digits 1 and 0 once it is rounded
        (16449.2, 3036.4, "16449 ± 3036"),
        (0.6775, 0.0, "0.6775 ± 0"),
        (0.6775, 1e-9, "0.6775 ± 1e-09"),
        (0.6775, None, "0.6775"),
        (1.742e-5, 2e-7, "1.742e-05 ± 0.020e-05"),  # as the number alone, 1.74e-05
        (9.9e-5, 4e-8, "9.9000e-05 ± 0.0040e-05"),
        (2e-6, 3e-5, "0.2e-05 ± 3.0e-05"),
        (0.000123, 2e-7, "0.00012300 ± 0.00000020"),
        (float("nan"), 1.0, "nan ± 1.0"),
        (1.0, float("inf"), "1.0000 ± inf"),
    ],
)
def test_a_deviation_has_two_digits_and_its_mean_the_same_decimals(
    mean: float, std: float | None, cell: str
) -> None:
    assert spread(mean, std) == cell


@given(SIGNED, SIZE)
def test_mean_and_deviation_are_rounded_at_one_place(mean: float, std: float) -> None:
    first, second = map(Decimal, spread(mean, std).split(" ± "))
    places = max(0, min(place(std, 2), place(mean, 6)))
    if round(Decimal(std), places) == 0:
        assert (str(first), second) == (number(mean), digits(std, 1))
        return
    assert last(first) == last(second) == places
    half = Decimal(10) ** -places / 2
    assert abs(first - Decimal(mean)) <= half
    assert abs(second - Decimal(std)) <= half


@given(SIGNED)
def test_a_number_has_at_most_six_digits_and_at_least_three(value: float) -> None:
    shown = Decimal(number(value))
    assert abs(shown - Decimal(value)) <= max(abs(Decimal(value)) * Decimal("0.005"), Decimal("0.5"))
    whole = len(str(int(abs(shown)))) if abs(shown) >= 1 else 0
    assert whole + last(shown) <= 6 or last(shown) == 0 or abs(value) < 0.01


@pytest.mark.parametrize(
    ("values", "label", "cells_"),
    [
        ([1.742e-5, 1.4234e-5], " in 10⁻⁵", ["1.742 ± 0.020", "1.423"]),
        ([9.9996e-6], " in 10⁻⁵", ["1.000 ± 0.020"]),
        ([0.0099, 0.0007], " in 10⁻³", ["9.90000 ± 0.00020", "0.700"]),
        ([0.01, 1.42e-5], "", ["0.0100000 ± 0.0000002", "1.42e-05"]),
        ([-3.2e-12, float("nan")], " in 10⁻¹²", ["-3 ± 200000", "nan"]),
        ([float("nan"), 1.42e-5], " in 10⁻⁵", ["nan ± 0.020", "1.420"]),
        ([0.0, float("inf")], "", ["0.0000 ± 2e-07", "inf"]),
        ([], "", []),
    ],
)
def test_small_numbers_of_a_column_share_a_power_of_ten(
    values: list[float], label: str, cells_: list[str]
) -> None:
    scale = Scale.of(values)
    assert scale.label == label
    stds = [2e-7, *[None] * len(values)]
    assert [scale.spread(value, std) for value, std in zip(values, stds, strict=False)] == cells_


@given(st.lists(SIGNED, min_size=1))
def test_the_largest_number_of_a_column_shows_digits_before_the_point_or_at_once_behind_it(
    values: list[float],
) -> None:
    scale = Scale.of(values)
    largest = max(values, key=abs)
    assert abs(Decimal(scale.number(largest))) > 0.00999 or scale.exponent == 0
    assert abs(scale(largest)) == pytest.approx(abs(largest) / 10.0**scale.exponent)
    assert "e" not in scale.number(largest)


def small(unit: str) -> Table:
    """Return a table of two models whose errors are small."""
    c = Comparison(2.8e-6, 1e-6, 5e-6, p=0.5, p_holm=0.5, recordings=8)
    rows = (
        Row("flat-s4", 1, (0, 1), 1.6e-5, 1.742e-5, 2e-7, 0.0041737, 2.4e-5, None, 1.0, comparison=c),
        Row("fir", 1, (0,), 1.7e-5, 1.42e-5, None, 0.0037683, None, None, 1.0),
    )
    return Table("slip", "simulated", "strict", "", "val", "test", unit, (None,), rows, against="fir")


def test_a_table_of_small_errors_reads_alike_down_its_columns() -> None:
    table = small("m/s")
    one, other = (dict(zip(columns(table), cells(table, row), strict=True)) for row in table.rows)
    assert one | {"time to fit": ""} == {
        "model": "flat-s4",
        "test MSE in 10⁻⁵ (m/s)²": "1.742 ± 0.020",
        "vs fir [95 %] in 10⁻⁵": "+0.28 [+0.10, +0.50]",
        "p (Holm)": "0.5",
        "test RMSE in 10⁻³ (m/s)": "4.174 ± 0.024",
        "val MSE in 10⁻⁵": "1.600",
        "parameters": "1",
        "seeds": "0, 1",
        "time to fit": "",
    }
    assert (other["test MSE in 10⁻⁵ (m/s)²"], other["test RMSE in 10⁻³ (m/s)"]) == ("1.420", "3.768")
    grid = overview([table, small("1")])
    assert grid.header == ("model", "slip in 10⁻⁵ (m/s)²", "slip in 10⁻⁵")
    assert (grid.best, grid.second) == ({(1, 1), (1, 2)}, {(0, 1), (0, 2)})  # by the reported error
    assert "test MSE in 10$^{-5}$ (m/s)$^{2}$" in render(table, "latex")


@pytest.mark.parametrize(
    ("unit", "head", "root", "above"),
    [
        ("m", "test MSE in 10⁻⁵ (m²)", "test RMSE in 10⁻³ (m)", "slip in 10⁻⁵ (m²)"),
        ("rad/s", "test MSE in 10⁻⁵ (rad/s)²", "test RMSE in 10⁻³ (rad/s)", "slip in 10⁻⁵ (rad/s)²"),
        ("1", "test MSE in 10⁻⁵", "test RMSE in 10⁻³", "slip in 10⁻⁵"),
        ("mixed units", "test MSE in 10⁻⁵", "test RMSE in 10⁻³", "slip in 10⁻⁵"),
    ],
)
def test_a_unit_is_squared_as_in_print(unit: str, head: str, root: str, above: str) -> None:
    assert columns(small(unit))[1] == head
    assert root in columns(small(unit))
    assert overview([small(unit)]).header[1] == above


@pytest.mark.parametrize("width", [45, 80, 200])
def test_text_fits_the_terminal(width: int) -> None:
    table = small("m/s")
    text = render_all([table], "text", width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    rules = [i for i, line in enumerate(lines) if line and set(line) == {"-"}]
    assert (len(rules) == 1) == (width == 200)
    for i in rules:  # the models' names begin the rows of every block
        assert [line.split()[0] for line in lines[i + 1 : i + 3]] == ["flat-s4", "fir"]
    words = " ".join(text.split())
    for row in table.rows:
        assert all(cell in words for cell in cells(table, row))
    assert "vs fir [95 %]" in words
    assert "Differences in MSE to fir, the model that was named: interval" in words


@pytest.mark.parametrize("improvement", [None, 0.25])
@pytest.mark.parametrize("selection", ["val", "test"])
@pytest.mark.parametrize("against", ["fir", None])
def test_every_heading_has_its_cell(improvement: float | None, selection: str, against: str | None) -> None:
    table = replace(small("m/s"), selection=selection, against=against)
    row = replace(table.rows[0], improvement=improvement, val_mse=7e-6)
    table = replace(table, rows=(row, *table.rows[1:]))
    shown = dict(zip(columns(table), cells(table, row), strict=True))
    assert ("vs mean" in shown) == (improvement is not None)
    assert sum("p (Holm)" in name for name in shown) == (against is not None)
    assert ("0.700" in shown.values()) == (selection == "val")  # what is chosen on the reported part stands once
    assert ("chosen on the reported part itself" in table.heading) == (selection == "test")


def test_the_lowest_two_of_columns_with_few_rows() -> None:
    assert lowest_two([{4: 1.0}, {}, {0: 2.0, 3: 1.0, 5: 3.0}]) == ({(4, 1), (3, 3)}, {(0, 3)})


@pytest.mark.parametrize(("unit", "label"), [("1", ""), ("", ""), ("m/s", " (m/s)"), ("1/s", " (1/s)")])
def test_a_number_without_a_unit_has_none_in_brackets(unit: str, label: str) -> None:
    assert bracketed(unit) == label


def test_errors_of_a_target_without_a_unit_have_none() -> None:
    table = small("1")
    assert [name for name in columns(table) if "(" in name] == ["p (Holm)"]


def shown(c: Comparison) -> tuple[list[Decimal], str]:
    row = Row("flat-s4", 1, (0,), 1.0, 1.0, None, 1.0, None, None, 1.0, comparison=c)
    table = Table("broad", "simulated", "strict", "", "val", "test", "m/s", (None,), (row,), against="flat-lstm")
    cell = cells(table, row)[columns(table).index("vs flat-lstm [95 %]")]
    return [Decimal(text) for text in re.findall(r"[-+][\d.]+", cell)], notes(table)[0]


@pytest.mark.parametrize(
    ("model", "seeds", "said"),
    [
        ("fir", (0,), 0),
        ("fir (taps 20)", (0,), 0),
        ("fir", (0, 1), 0),
        ("flat-s4", (0,), 1),
        ("flat-s4", (0, 1), 0),
    ],
)
def test_what_one_seed_of_a_learned_model_tells(model: str, seeds: tuple[int, ...], said: int) -> None:
    """A reference has no seed that could change it."""
    c = Comparison(0.1, 0.05, 0.3, p=0.001, p_holm=0.001, recordings=12)
    row = Row(model, 1, seeds, 1.0, 1.0, None, 1.0, None, None, 1.0, comparison=c)
    table = Table("broad", "simulated", "strict", "", "val", "test", "m/s", (None,), (row,), against="kalman")
    assert sum("another seed gives another difference" in note for note in notes(table)) == said
    by_subject = [note for note in notes(replace(table, folds=5, fold_by="subject")) if note not in notes(table)]
    assert by_subject == [
        "Recordings of one subject are alike, so intervals and p promise more than they hold; with one fold a "
        "subject, compare the folds."
    ]
    by_group = [note for note in notes(replace(table, groups=5)) if note not in notes(table)]
    assert by_group == [
        "The recordings are of 5 groups, and those of one group are alike, so that intervals and p promise more "
        "than they hold; compare one error for each group."
    ]
    assert notes(replace(table, groups=12)) == notes(table)  # each is a group of its own


@given(SIGNED, SIZE, SIZE)
def test_a_difference_and_its_interval_are_rounded_at_one_place(middle: float, below: float, above: float) -> None:
    c = Comparison(middle, middle - below, middle + above, p=0.5, p_holm=0.5, recordings=8)
    values, _ = shown(c)
    half, largest = (c.high - c.low) / 2, max(abs(c.low), abs(c.high))
    places = max(0, min(place(half if half > 1e-9 * largest else largest / 100, 2), place(largest, 6)))
    (found,) = {last(value) for value in values}
    assert places <= found <= places + 2
    for value, exact in zip(values, (c.difference, c.low, c.high), strict=True):
        assert abs(value - Decimal(exact)) <= Decimal(10) ** -found / 2
        assert value.is_signed() == (exact < 0)  # also where it reads as 0
    if found < places + 2:
        assert all(value or not exact for value, exact in zip(values[1:], (c.low, c.high), strict=True))


@pytest.mark.parametrize(
    ("low", "agree", "cell"), [(0.1, True, "0.01 *"), (0.1, False, "0.01"), (-0.1, True, "0.01")]
)
def test_a_difference_is_marked_where_it_is_significant(low: float, agree: bool, cell: str) -> None:
    """Not where p alone is small."""
    table = small("m/s")
    c = Comparison(0.2, low, 0.3, p=0.01, p_holm=0.01, recordings=12, agree=agree)
    row = replace(table.rows[0], comparison=c)
    assert dict(zip(columns(table), cells(table, row), strict=True))["p (Holm)"] == cell


def test_one_comparison_is_said_in_the_singular_and_intervals_as_in_the_papers() -> None:
    values, note = shown(Comparison(0.1631, 0.03966, 0.3506, p=0.25, p_holm=0.25, recordings=5))
    assert [str(value) for value in values] == ["0.16", "0.04", "0.35"]
    assert "corrected for 1 comparison (Holm)" in note
    values, _ = shown(Comparison(-0.003261, -0.02762, 0.009847, p=None, p_holm=None, recordings=5))
    assert [str(value) for value in values] == ["-0.003", "-0.028", "0.010"]
    values, note = shown(Comparison(-0.11593, -0.11593, -0.11593, p=None, p_holm=None, recordings=1))
    assert [str(value) for value in values] == ["-0.1159"]  # a point has no uncertainty to go by, and is none
    assert "one recording and one seed carry no interval and no test." in note
    values, note = shown(Comparison(-0.11593, -0.13, -0.08, p=None, p_holm=None, recordings=1))
    assert [str(value) for value in values] == ["-0.116", "-0.130", "-0.080"]
    assert "interval of Student's t over the seeds alone; one recording carries no test." in note
    _, note = shown(Comparison(0.1, -0.1, 0.3, p=0.25, p_holm=0.25, recordings=5))
    assert "Student's t over 5 recordings, taken as independent, and the seeds" in note
    values, _ = shown(Comparison(0.16, 0.0012, 0.35, p=None, p_holm=None, recordings=5))
    assert [str(value) for value in values] == ["0.160", "0.001", "0.350"]  # not [0.00, 0.35]
