"""Statistics against numpy over everything at once."""

from __future__ import annotations

import copy
import dataclasses
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from csp_data import STRICT, Normalization, Recording, Stream, normalization
from csp_data.errors import OptionError
from csp_data.normalization import Affine, Moments, Scaling, features, fit


@given(
    seed=st.integers(0, 2**31),
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    offset=st.floats(-1e6, 1e6),
)
@example(seed=181494, lengths=[18, 17, 21], offset=0.0)
@settings(max_examples=50, deadline=None)
def test_merged_statistics_equal_those_of_all_rows(seed: int, lengths: list[int], offset: float) -> None:
    rng = np.random.default_rng(seed)
    blocks = [rng.normal(size=(n, 3)) + offset for n in [*lengths, 2]]
    rows = np.concatenate(blocks)
    affine = fit(blocks, Scaling("mean", "std", 3.0))
    rounding = len(rows) * np.finfo(float).eps * np.abs(rows).max()  # of a sum, also where it comes to nearly 0
    np.testing.assert_allclose(affine.shift, rows.mean(axis=0), rtol=1e-12, atol=rounding)
    np.testing.assert_allclose(affine.scale, 3 * rows.std(axis=0, ddof=1), rtol=1e-8)
    spread = fit(blocks, Scaling("zero", "range", 0.2))
    np.testing.assert_array_equal(spread.shift, 0)
    np.testing.assert_allclose(spread.scale, 0.2 * np.ptp(rows, axis=0), rtol=1e-12)


@given(
    value=st.floats(-1e6, 1e6),
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=4),
    factor=st.sampled_from([1.0, 3.0]),
    kind=st.sampled_from([np.float32, np.float64]),
)
@example(value=0.1, lengths=[7], factor=1.0, kind=np.float64)
@settings(deadline=None, max_examples=50)
def test_a_constant_channel_has_the_scale_1(value: float, lengths: list[int], factor: float, kind: type) -> None:
    """Also 0.1, of which sums are rounded, and a single row; float32 is computed with as float64."""
    blocks = [np.full((length, 1), value, dtype=kind) for length in lengths]
    for scale in ("std", "range"):
        affine = fit(blocks, Scaling("mean", scale, factor))
        assert affine.scale.tolist() == [1.0]
        np.testing.assert_allclose(affine.shift, blocks[0][0], rtol=1e-12)
    assert fit(blocks, Scaling(floor=0.5, factor=factor)).scale.tolist() == [0.5 * factor]
    assert fit(blocks, Scaling(scale="one", factor=factor)).scale.tolist() == [factor]


def test_statistics_of_a_long_recording_need_no_copy_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in float64 was made: twice the memory of a day's recording."""
    rows = np.random.default_rng(0).normal(3.0, 2.0, size=(300_000, 12)).astype(np.float32)
    tracemalloc.start()
    found = Moments.of(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows.nbytes
    np.testing.assert_allclose(found.squares, len(rows) * rows.var(axis=0, dtype=np.float64), rtol=1e-9)
    monkeypatch.setattr(normalization, "AT_ONCE", 1)
    for rows_ in (rows[:1], rows[:15], rows[:1025]):
        blocks = Moments.of(rows_)
        with monkeypatch.context() as patch:
            patch.setattr(normalization, "AT_ONCE", 10**9)
            at_once = Moments.of(rows_)
        for name, value in vars(at_once).items():
            np.testing.assert_array_equal(value, vars(blocks)[name])


def test_nothing_to_fit_on_is_an_error() -> None:
    with pytest.raises(ValueError, match="no rows"):
        fit([np.zeros((0, 2))], Scaling())


def test_features_append_changes_and_clip() -> None:
    inputs = np.array([[1.0, 10.0], [4.0, 10.0], [0.0, -30.0]], dtype=np.float32)
    made = features(inputs, deltas=True, clip=25.0)
    np.testing.assert_array_equal(made, [[1, 10, 0, 0], [4, 10, 3, 0], [0, -25, -4, -25]])
    assert made.dtype == np.float32
    assert features(inputs, deltas=False) is inputs


def test_invert_undoes_apply() -> None:
    values = np.random.default_rng(0).normal(size=(20, 3))
    affine = fit([values], Scaling("mean", "std", 2.0))
    np.testing.assert_allclose(affine.invert(affine.apply(values)), values, atol=1e-14)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_long_recordings_are_scaled_block_by_block(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(100, 3)).astype(kind)
    affine = Affine(np.array([1.0, 0.1, 3.0]), np.array([0.3, 2.0, 7.0]))
    at_once = affine.apply(values)
    monkeypatch.setattr(normalization, "AT_ONCE", 31)
    np.testing.assert_array_equal(affine.apply(values), at_once, strict=True)


def test_ties_to_columns_that_are_not_there_do_not_count() -> None:
    """One rule serves with and without input deltas; it ended in an IndexError after all recordings were read."""
    rows = np.random.default_rng(0).normal(size=(50, 2)) * [1, 5]
    tied = Scaling(tied=((0, 1), (2, 3), (1, 9)))
    np.testing.assert_array_equal(fit([rows], tied).scale, fit([rows], Scaling(tied=((0, 1),))).scale)


@pytest.mark.parametrize("pairs", [(1, 2), ((1,),), ((0, 1.5),), (("a", "b"),)])
def test_pairs_that_are_none_are_refused(pairs: tuple[object, ...]) -> None:
    for option in ("tied", "unscaled"):
        with pytest.raises(OptionError, match=rf"scaling\.{option}=.*pairs of whole numbers"):
            Scaling(**{option: pairs})  # type: ignore[arg-type]


def test_pairs_in_lists_are_those_in_tuples() -> None:
    """As lists, a scaling had no hash, nor had the protocol with it, and was not equal to the same in tuples."""
    protocols = [
        STRICT.replace(input_scaling=Scaling(unscaled=pairs, tied=pairs)) for pairs in ([[0, 1]], ((0, 1),))
    ]
    assert len(set(protocols)) == 1


def test_inputs_without_their_deltas_are_not_normalised() -> None:
    """numpy said that shapes could not be broadcast."""
    scaling = Affine(np.zeros(4), np.ones(4))
    with pytest.raises(OptionError, match=r"\(9, 2\).*\(\.\.\., 4\).*deltas=True"):
        scaling.apply(np.ones((9, 2)))
    with pytest.raises(OptionError, match=r"\(9, 3\).*\(\.\.\., 4\)\.$"):
        scaling.invert(np.ones((9, 3)))
    with pytest.raises(OptionError, match=r"values=\(\)"):
        scaling.apply(1.0)


def test_what_holds_arrays_is_equal_if_these_are() -> None:
    affine = Affine(np.zeros(2), np.ones(2))
    time, values = np.arange(3.0), np.array([[0.0], [np.nan], [2.0]])  # a reference may have gaps
    stream = Stream(time, values, ("x",), "m", "reference")
    shorter = dataclasses.replace(stream, time=time[:2], values=values[:2])
    other_unit = dataclasses.replace(stream, unit="mm")
    cases: list[tuple[object, list[object]]] = [
        (affine, [Affine(np.zeros(2), np.array([1.0, 2.0])), Affine(np.zeros(1), np.ones(1)), 0]),
        (Normalization(affine, affine), [Normalization(affine, Affine(np.ones(2), np.ones(2)))]),
        (stream, [shorter, other_unit, affine]),
        (Recording("a", "g", Path("a"), {"x": stream}), [Recording("a", "g", Path("a"), {"x": shorter})]),
    ]
    for one, others in cases:
        assert one == copy.deepcopy(one)
        assert not any(one == other or other == one for other in others)
