from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import csp_data
from baselines.errors import OptionError
from baselines.training.data import Part, batches, cut_windows, load_part
from baselines.training.settings import window_steps
from csp_data import Dataset

MakePart = Callable[..., Part]


def test_features_are_made_on_whole_episodes(sample: Dataset) -> None:
    part = load_part(sample, "val")
    norm = sample.normalization
    for row, episode in enumerate(sample.val):
        first, count = int(part.starts[row]), int(part.lengths[row])
        assert part.ids[row] == episode.id
        deltas = np.zeros_like(episode.inputs)
        for t in range(1, len(deltas)):
            deltas[t] = episode.inputs[t] - episode.inputs[t - 1]
        both = np.concatenate([episode.inputs, deltas], axis=1)
        expected = (both - norm.inputs.shift) / norm.inputs.scale
        got = part.inputs[first * part.chunk : (first + count) * part.chunk].numpy()
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(part.physical(part.targets[first : first + count]), episode.targets, atol=1e-6)
        np.testing.assert_array_equal(part.times[row], episode.target_time)


def test_a_part_takes_its_memory_once() -> None:
    """Episodes were joined when all were there, and scaled as float64: five times the features of a long one."""
    dataset = csp_data.load("sample", input_hz=1000)
    tracemalloc.start()
    part = load_part(dataset, "train")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.7 * part.inputs.numpy().nbytes


def test_deltas_do_not_start_afresh_at_a_window(sample: Dataset) -> None:
    part = load_part(sample, "val")
    windows = cut_windows(part, 10)
    batch = next(batches(part, windows, 2))
    begin = batch.inputs[1, 0]  # the second window of the first episode
    scale, shift = sample.normalization.inputs.scale, sample.normalization.inputs.shift
    delta = begin[6:].numpy() * scale[6:] + shift[6:]
    inputs = sample.val[0].inputs
    np.testing.assert_allclose(delta, inputs[100] - inputs[99], atol=1e-5)
    assert np.abs(delta).max() > 0


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    length=st.integers(1, 30),
    data=st.data(),
)
def test_windows_cover_every_step_and_stay_in_their_episode(
    lengths: list[int], length: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, length))
    count = np.array(lengths)
    part = _bare_part(count)
    windows = cut_windows(part, length, stride)
    seen = np.zeros(count.sum(), dtype=int)
    for episode, start, steps in zip(windows.episodes, windows.starts, windows.lengths, strict=True):
        assert part.starts[episode] <= start
        assert start + steps <= part.starts[episode] + part.lengths[episode]
        assert 1 <= steps <= length
        seen[start : start + steps] += 1
    assert seen.min() >= 1
    if stride == length:
        assert seen.max() == 1
    # no window lies within the one before it: none is a repetition
    for a in range(len(windows) - 1):
        if windows.episodes[a] == windows.episodes[a + 1]:
            assert windows.starts[a + 1] + windows.lengths[a + 1] > windows.starts[a] + windows.lengths[a]


def _bare_part(lengths: np.ndarray) -> Part:
    total = int(lengths.sum())
    return Part(
        name="train",
        ids=tuple(map(str, range(len(lengths)))),
        inputs=torch.zeros(total, 1),
        targets=torch.zeros(total, 1),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        times=(),
        chunk=1,
        target_hz=5.0,
        scaling=None,  # type: ignore[arg-type]
    )


def test_batches_are_slices_padded_with_zeros(make_part: MakePart) -> None:
    part = make_part((7, 12, 3))
    windows = cut_windows(part, 5, 2)
    rows = []
    for batch in batches(part, windows, 4, torch.Generator().manual_seed(3)):
        for i, row in enumerate(batch.rows):
            start, steps = int(windows.starts[row]), int(windows.lengths[row])
            own = part.inputs[start * part.chunk : (start + steps) * part.chunk]
            torch.testing.assert_close(batch.inputs[i, : steps * part.chunk], own, rtol=0, atol=0)
            torch.testing.assert_close(
                batch.targets[i, :steps], part.targets[start : start + steps], rtol=0, atol=0
            )
            assert batch.mask[i].tolist() == [True] * steps + [False] * (batch.mask.shape[1] - steps)
            assert not batch.inputs[i, steps * part.chunk :].any()
            assert not batch.targets[i, steps:].any()
            rows.append(int(row))
    assert sorted(rows) == list(range(len(windows)))
    assert rows != sorted(rows)


def test_order_comes_from_the_generator_alone(make_part: MakePart) -> None:
    part = make_part((40, 40))
    windows = cut_windows(part, 4, 1)

    def order(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        return [int(r) for batch in batches(part, windows, 8, generator) for r in batch.rows]

    torch.manual_seed(1)
    first = order(0)
    torch.manual_seed(2)
    assert order(0) == first
    assert order(1) != first


def test_whole_episodes(make_part: MakePart) -> None:
    part = make_part((7, 12, 3))
    windows = cut_windows(part, None)
    assert windows.lengths.tolist() == [7, 12, 3]
    batch = next(batches(part, windows, 3))
    assert batch.inputs.shape == (3, 60, 4)
    assert batch.mask.sum(dim=1).tolist() == [7, 12, 3]


def test_windows_and_clip_of_the_protocol_come_with_the_part(sample: Dataset) -> None:
    assert load_part(sample, "val").window is None
    cut = csp_data.load("sample", window=csp_data.Window(seconds=4, stride=1), target_hz=10, clip=2.0)
    part, norm = load_part(cut, "val"), cut.normalization.inputs
    assert part.window == (40, 10)
    clipped = np.clip(np.concatenate([episode.inputs for episode in cut.val]), -2, 2)
    seen = part.inputs[:, :6].numpy() * norm.scale[:6] + norm.shift[:6]
    np.testing.assert_allclose(seen, clipped, atol=1e-5)


def test_bounds(make_part: MakePart) -> None:
    assert [window_steps("window_s", seconds, 5.0) for seconds in (0.2, 2.0, 200.0001)] == [1, 10, 1000]
    for none in (0.01, 0.0, -2.0):
        with pytest.raises(OptionError, match=r"expected a positive multiple of 0\.2 s"):
            window_steps("window_s", none, 5.0)
    with pytest.raises(OptionError, match=r"window_s=2\.1: expected a positive multiple of 0\.2 s"):
        window_steps("window_s", 2.1, 5.0)
    with pytest.raises(OptionError, match=r"window_stride_s=2\.0: expected at most window_s=1"):
        cut_windows(make_part(), 5, 10)
