"""Splits: rules against their definitions, the random one against torch, and what is refused."""

from __future__ import annotations

import dataclasses
import importlib.resources
from fractions import Fraction
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csp_data.card import Card, load_card, names, read_card
from csp_data.card.splits import SplitCard
from csp_data.errors import CardError
from csp_data.sources import Found
from csp_data.splits import assign, natural_key, permutation


def found(*ids: str) -> list[Found]:
    return [Found(id_, id_.split("/")[0], (Path(id_),)) for id_ in ids]


def card(**options: object) -> Card:

    return dataclasses.replace(load_card("broad"), splits={"made": SplitCard(**options)})  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 17, 880, 1000, 1100, 70_000])
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_the_permutation_is_torchs(count: int, seed: int) -> None:
    torch = pytest.importorskip("torch")
    expected = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    assert permutation(count, seed) == expected


@settings(deadline=None)
@given(st.integers(1, 200))
def test_shares_cut_as_published(count: int) -> None:
    """The first int(0.8 n) recordings train, the others evaluate."""
    recordings = found(*(f"r{i:03d}" for i in range(count)))
    parts = assign(card(rule="sequential", shares={"train": 0.8, "eval": 0.2}), "made", recordings)
    assert [parts[r.id] for r in recordings] == ["train"] * int(0.8 * count) + ["eval"] * (
        count - int(0.8 * count)
    )


def sizes(count: int, rule: str = "sequential", **shares: float) -> dict[str, int]:
    """How many groups of one recording each part gets."""
    made = card(rule=rule, shares=shares)
    assigned = list(assign(made, "made", found(*(f"g{i:03d}/a" for i in range(count)))).values())
    assert len(assigned) == count
    return {part: assigned.count(part) for part in shares}


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        *((1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (4, (2, 1, 1)), (5, (3, 1, 1)), (6, (4, 1, 1))),
        *((7, (5, 1, 1)), (9, (6, 1, 2)), (10, (7, 1, 2)), (1000, (700, 100, 200)), (1100, (770, 110, 220))),
    ],
)
def test_the_usual_shares_of_few_and_many(count: int, expected: tuple[int, ...]) -> None:
    assert tuple(sizes(count, train=0.7, val=0.1, test=0.2).values()) == expected


@settings(deadline=None)
@given(
    st.integers(0, 300),
    st.lists(st.integers(1, 20), min_size=2, max_size=4),
    st.sampled_from(["sequential", "random", "groups"]),
)
def test_shares_are_met_as_nearly_as_whole_numbers_can(count: int, weights: list[int], rule: str) -> None:
    parts = ["train", "val", "test", "test_seen"][: len(weights)]
    shares = {part: weight / sum(weights) for part, weight in zip(parts, weights, strict=True)}
    got = sizes(count, rule, **shares)
    assert sum(1 for size in got.values() if size) == min(count, len(parts))
    for one in parts:
        for other in parts:
            # a larger share never gets less, and nothing can be moved to where it is missed more
            if shares[one] > shares[other] and count >= len(parts):
                assert got[one] >= got[other]
            if got[one] > 1:
                lacks = [shares[part] * count - size for part, size in got.items() if part == other]
                assert lacks[0] <= shares[one] * count - got[one] + 1 + 1e-6
    if shares["train"] == max(shares.values()):
        assert got["train"] == max(got.values())
    if all(share * count >= 1 for share in shares.values()):  # the method of largest remainders
        assert all(abs(got[part] - share * count) < 1 for part, share in shares.items())


@settings(deadline=None)
@given(st.integers(0, 120), st.lists(st.integers(1, 12), min_size=2, max_size=4))
def test_shares_are_cut_as_fractions_would_be(count: int, weights: list[int]) -> None:
    """Where parts lack as much, training and the larger shares come first, whatever the rounding of 0.7 x 10."""
    exact = dict(zip(("train", "val", "test", "test_seen"), map(Fraction, weights), strict=False))
    order = sorted(exact, key=lambda part: (part != "train", -exact[part]))
    expected = {part: int(place < count) for place, part in enumerate(order)}
    while sum(expected.values()) < count:
        lacks = {part: exact[part] / sum(weights) * count - expected[part] for part in order}
        expected[max(lacks, key=lacks.__getitem__)] += 1
    assert sizes(count, **{part: float(weight / sum(weights)) for part, weight in exact.items()}) == expected


@settings(deadline=None)
@given(st.integers(2, 60), st.integers(1, 19))
def test_a_published_split_has_no_empty_part(count: int, twentieths: int) -> None:
    got = sizes(count, train=twentieths / 20, eval=1 - twentieths / 20)
    assert min(got.values()) >= 1


def test_recorded_order_counts_numbers() -> None:
    assert sorted(["d_10", "d_9", "d_2x", "d_2"], key=natural_key) == ["d_2", "d_2x", "d_9", "d_10"]
    assert sorted(["m10²", "m2²", "m²"], key=natural_key) == ["m2²", "m10²", "m²"]  # no digit that int() reads
    made = card(rule="sequential", order="recorded", shares={"train": 0.5, "test": 0.5})
    parts = assign(made, "made", found("d_1", "d_10", "d_2", "d_20"))
    assert parts == {"d_1": "train", "d_2": "train", "d_10": "test", "d_20": "test"}


def test_names_of_one_number_have_an_order_of_their_own() -> None:
    """Groups are a set, which has another order in every process."""
    for set_order in permutations(["p1", "p01", "p001"]):
        assert sorted(set_order, key=natural_key) == ["p001", "p01", "p1"]


def test_groups_stay_together() -> None:
    made = card(rule="groups", shares={"train": 0.5, "test": 0.5})
    parts = assign(made, "made", found("b/1", "a/1", "a/2", "b/2"))
    assert parts == {"a/1": "train", "a/2": "train", "b/1": "test", "b/2": "test"}


def test_lists_take_names_and_patterns_and_leave_the_rest() -> None:
    made = card(train=("x/*", "b", "r[1]"), eval=("*a001_1",), held_out=())
    parts = assign(made, "made", found("x/1", "b", "c", "sub/a001_1", "a001_11", "r[1]", "r1"))
    assert parts == {"x/1": "train", "b": "train", "sub/a001_1": "eval", "r[1]": "train"}


def test_a_group_that_is_held_out_stands_in_one_part() -> None:
    lists = {"train": ("g/1",), "test": ("g/2",)}
    with pytest.raises(CardError, match=r"parts test, train; put them all into one, or write held_out = \[\] to"):
        assign(card(**lists, held_out=("test",)), "made", found("g/1", "g/2"))
    cut = card(rule="sequential", shares={"train": 0.5, "test": 0.5})
    with pytest.raises(CardError, match=r'parts test, train; rule = "groups" keeps them together'):
        assign(cut, "made", found("g/1", "g/2"))
    assert assign(card(**lists, held_out=()), "made", found("g/1", "g/2")) == {"g/1": "train", "g/2": "test"}


@pytest.mark.parametrize("name", names())
def test_pinned_lists_are_disjoint_and_hold_out_groups(name: str) -> None:
    for split in load_card(name).splits.values():
        listed = [id_ for part in split.parts for id_ in getattr(split, part)]
        assert len(listed) == len(set(listed))


def test_ronins_lists_have_the_published_sizes() -> None:
    strict = load_card("ronin").splits["strict"]
    assert [len(getattr(strict, part)) for part in ("train", "val", "test", "test_seen")] == [73, 16, 32, 32]
    people = {part: {id_.lstrip("*").split("_")[0] for id_ in getattr(strict, part)} for part in strict.parts}
    assert not people["test"] & (people["train"] | people["val"] | people["test_seen"])


def test_totalcaptures_partition() -> None:
    paper = load_card("totalcapture").splits["paper"]
    strict = load_card("totalcapture").splits["strict"]
    assert (len(paper.train), len(paper.eval)) == (27, 15)
    assert set(strict.train) | set(strict.val) == set(paper.train)
    assert set(strict.test) == set(paper.eval)


TEXT = """
extends = "broad"
name = "made"
[splits.strict]
"""


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ('rule = "random"', "the rule 'random' needs shares alone"),
        ('train = ["a"]\nshares = { train = 1.0 }', "the rule 'lists' needs lists alone"),
        ('rule = "groups"\nshares = { train = 0.5, test = 0.4 }', "add up to 1, found 0.9"),
        ('rule = "groups"\nshares = { train = 0.5, exam = 0.5 }', "'exam' is no part"),
        ('test = ["a"]', "there is no train part"),
        (
            'rule = "groups"\nshares = { train = 1.5, test = -0.5 }',
            "share of train should be above 0 and at most 1",
        ),
        ('rule = "groups"\nshares = { train = 1.0, test = 0 }', "share of test should be above 0"),
        (
            'rule = "random"\nseed = -1\nshares = { train = 0.5, test = 0.5 }',
            "seed should be from 0 to 4294967295",
        ),
        ('rule = "random"\nseed = 4294967296\nshares = { train = 0.5, test = 0.5 }', "seed should be from 0 to"),
        ('train = ["a"]\nval = ["a"]', "lists a recording twice: 'a'"),
        ('train = ["a"]\nheld_out = ["tests"]', "'tests' is no part"),
    ],
)
def test_a_split_that_contradicts_itself_is_refused(rows: str, problem: str) -> None:

    broad = (importlib.resources.files("csp_data") / "cards" / "broad.toml").read_text(encoding="utf-8")
    with pytest.raises(CardError, match=problem):
        read_card(TEXT + rows, "made.toml", {"broad": broad})
