"""Changes of the split and the look-ahead: against their definitions, by recordings, by groups and by pieces."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import csp_data
from csp_data import Protocol, Resplit, Window
from csp_data.card import Card, load_card
from csp_data.card.splits import SplitCard
from csp_data.errors import OptionError
from csp_data.resplit import UNUSED
from csp_data.sources import Found, load_source
from csp_data.splits import PartsByRecording, divide

LISTS = {
    "train": tuple(f"t{i}" for i in range(12)),
    "val": ("v0", "v1"),
    "test": ("a_1", "a_2", "a_3", "b_1", "b_2"),
}


def found(ids: tuple[str, ...]) -> list[Found]:
    return [Found(id_, id_.split("_")[0], (Path(id_),)) for id_ in ids]


def card(**options: object) -> Card:
    return dataclasses.replace(load_card("broad"), splits={"made": SplitCard(**options)})  # type: ignore[arg-type]


def of_lists(change: Resplit | None) -> PartsByRecording:
    everything = tuple(id_ for ids in LISTS.values() for id_ in ids)
    return divide(card(**LISTS), "made", found(everything), change)


def having(parts: PartsByRecording, part: str) -> set[str]:
    return {id_ for id_, own in parts.items() if own == (part,)}


@settings(deadline=None, max_examples=60)
@given(
    st.integers(3, 80),
    st.lists(st.floats(0.01, 1), min_size=2, max_size=5).map(sorted),
    st.integers(0, 9),
    st.sampled_from(["sequential", "random", "groups"]),
)
def test_smaller_shares_are_subsets_of_larger_ones(count: int, shares: list[float], seed: int, rule: str) -> None:
    made = card(rule=rule, shares={"train": 0.7, "val": 0.1, "test": 0.2})
    recordings = found(tuple(f"r{i}" for i in range(count)))
    whole = divide(made, "made", recordings)
    before: set[str] = set()
    for share in [*shares, 1.0]:
        parts = divide(made, "made", recordings, Resplit(share=share, seed=seed))
        train = having(parts, "train")
        assert before <= train
        assert len(train) == max(1, round(share * len(having(whole, "train"))))
        assert {k: v for k, v in parts.items() if v != ("train",)} == {
            k: v for k, v in whole.items() if v != ("train",)
        }
        before = train
    assert parts == whole


def test_seeds_choose_other_subsets() -> None:
    assert having(of_lists(Resplit(share=0.5, seed=2**32 - 1)), "train") != having(
        of_lists(Resplit(share=0.5)), "train"
    )
    halves = {frozenset(having(of_lists(Resplit(share=0.5, seed=seed)), "train")) for seed in range(5)}
    assert len(halves) == 5
    assert {len(half) for half in halves} == {6}


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 6), min_size=3, max_size=25),
    st.integers(3, 8),
    st.integers(0, 9),
    st.sampled_from(["sequential", "random", "groups"]),
)
def test_every_recording_is_tested_in_one_fold(sizes: list[int], folds: int, seed: int, rule: str) -> None:
    """Groups stay whole, each fold tests some and chooses on others, and folds are as even as groups allow."""
    made = card(rule=rule, shares={"train": 0.7, "val": 0.1, "test": 0.2}, held_out=())
    recordings = found(tuple(f"g{g}_{i}" for g, size in enumerate(sizes) for i in range(size)))
    change = Resplit(fold=0, folds=folds, seed=seed)
    if len(sizes) < folds:
        with pytest.raises(OptionError, match=f"at most {len(sizes)}, as there are so many groups"):
            divide(made, "made", recordings, change)
        return
    rounds = [divide(made, "made", recordings, dataclasses.replace(change, fold=fold)) for fold in range(folds)]
    for part in ("test", "val"):
        tested = [id_ for parts in rounds for id_ in having(parts, part)]
        assert sorted(tested) == sorted(recording.id for recording in recordings)
    for k, parts in enumerate(rounds):
        assert set(parts) == {recording.id for recording in recordings}
        assert having(parts, "val") == having(rounds[(k + 1) % folds], "test")
        own = [{r.group for r in recordings if r.id in having(parts, part)} for part in ("train", "val", "test")]
        assert not (own[0] & own[1] | own[0] & own[2] | own[1] & own[2])
        if rule == "sequential":
            blocks = sorted(int(group[1:]) for group in own[2])
            assert blocks == list(range(blocks[0], blocks[-1] + 1))
    counts = [len(having(parts, "test")) for parts in rounds]
    if rule != "sequential":
        # the last group of a fold came to it when it was the emptiest, and no later one is larger
        smallest = [min(sizes[int(id_[1:].split("_")[0])] for id_ in having(parts, "test")) for parts in rounds]
        assert all(count - min(counts) <= size for count, size in zip(counts, smallest, strict=True))


@given(st.lists(st.integers(1, 4), min_size=3, max_size=8), st.integers(3, 5), st.integers(0, 3))
def test_folds_hold_subjects_whole(sizes: list[int], folds: int, seed: int) -> None:
    """Where a group is a sequence of a subject, as in TotalCapture."""
    made = card(rule="random", shares={"train": 0.7, "val": 0.1, "test": 0.2}, held_out=())
    names = tuple(f"s{s}_{i}" for s, size in enumerate(sizes) for i in range(size))
    recordings = [Found(name, name, (Path(name),), name.split("_")[0]) for name in names]
    change = Resplit(fold=0, folds=folds, seed=seed, by="subject")
    if len(sizes) < folds:
        with pytest.raises(OptionError, match=f"at most {len(sizes)}, as there are so many subjects"):
            divide(made, "made", recordings, change)
        return
    rounds = [divide(made, "made", recordings, dataclasses.replace(change, fold=fold)) for fold in range(folds)]
    assert sorted(id_ for parts in rounds for id_ in having(parts, "test")) == sorted(names)
    for parts in rounds:
        own = [{id_.split("_")[0] for id_ in having(parts, part)} for part in ("train", "val", "test")]
        assert not (own[0] & own[1] | own[0] & own[2] | own[1] & own[2])
        assert all(own)


def test_what_has_no_subjects_is_not_dealt_by_them() -> None:
    made = card(rule="random", shares={"train": 0.8, "eval": 0.2}, held_out=())
    recordings = found(tuple(f"r{i}" for i in range(9)))
    with pytest.raises(OptionError, match="the reader of broad does not say whose recording r0"):
        divide(made, "made", recordings, Resplit(fold=0, by="subject"))


@pytest.mark.parametrize("name", ["totalcapture", "ronin"])
def test_people_are_held_out_in_folds_by_subject(tmp_path: Path, name: str) -> None:
    """In simulated trees with the publishers' names of files."""
    source = load_source(csp_data.info(name))
    recordings = source.find(csp_data.simulate(name, tmp_path / name, hours=0.02, seed=1))
    people = {recording.id: re.fullmatch(r"(?:.*/)?([a-z]+\d+)_.*", recording.id) for recording in recordings}
    assert {recording.subject for recording in recordings} == {match[1] for match in people.values() if match}
    assert len({recording.subject for recording in recordings}) >= 3
    change = Resplit(fold=0, folds=3, by="subject")
    parts = divide(csp_data.info(name), "strict", recordings, change)
    own = [
        {recording.subject for recording in recordings if recording.id in having(parts, part)}
        for part in ("train", "val", "test")
    ]
    assert all(own)
    assert not (own[0] & own[1] | own[0] & own[2] | own[1] & own[2])


@pytest.mark.parametrize("rule", ["sequential", "random", "groups"])
def test_folds_do_not_depend_on_the_order_in_which_a_reader_finds(rule: str) -> None:
    """Which may be that of a disk."""
    made = card(rule=rule, order="recorded", shares={"train": 0.7, "val": 0.1, "test": 0.2}, held_out=())
    recordings = found(tuple(f"g{i // 2}_{i}" for i in range(24)))
    change = Resplit(fold=1, folds=4)
    assert divide(made, "made", recordings[::-1], change) == divide(made, "made", recordings, change)


def test_folds_of_single_recordings_are_drawn_by_the_seed() -> None:
    recordings = found(tuple(f"r{i}" for i in range(30)))
    made = card(rule="random", shares={"train": 0.8, "eval": 0.2}, held_out=())
    drawn = [having(divide(made, "made", recordings, Resplit(fold=2, seed=s)), "test") for s in range(4)]
    assert {len(test) for test in drawn} == {6}
    assert len({frozenset(test) for test in drawn}) == 4
    assert Resplit(fold=2).parts(("train", "eval")) == ("train", "val", "test")


def test_the_other_changes_come_after_the_folds() -> None:
    recordings = found(tuple(f"r{i}" for i in range(30)))
    made = card(rule="random", shares={"train": 0.8, "eval": 0.2}, held_out=())
    whole = divide(made, "made", recordings, Resplit(fold=1))
    half = divide(made, "made", recordings, Resplit(fold=1, share=0.5))
    assert having(half, "test") == having(whole, "test")
    assert len(having(half, "train")) == 9
    assert having(half, "train") < having(whole, "train")
    published = divide(made, "made", recordings, Resplit(fold=1, selection="report"))
    assert having(published, "eval") == having(whole, "test")
    assert set(published) == having(whole, "train") | having(whole, "test")
    assert Resplit(fold=1, selection="report").parts(("train", "eval")) == ("train", "eval")


def test_a_fold_of_real_recordings() -> None:
    """Statistics are those of its own training part."""
    rounds = [csp_data.load("sample", resplit={"fold": fold, "folds": 4}) for fold in range(4)]
    tested = [row.recording for made in rounds for row in made.test.rows]
    assert set(tested) == {row.recording for row in csp_data.load("sample").episodes}
    for made in rounds:
        used = np.concatenate([episode.targets for episode in made.train]).astype(np.float64)
        np.testing.assert_allclose(made.normalization.targets.shift, used.mean(axis=0), rtol=1e-5, atol=1e-7)
    assert len({str(made.path) for made in rounds}) == 4


def test_choosing_on_the_reported_part() -> None:
    whole, parts = of_lists(None), of_lists(Resplit(selection="report"))
    assert having(parts, "eval") == having(whole, "test")
    assert having(parts, "train") == having(whole, "train")
    assert set(parts) == {*LISTS["train"], *LISTS["test"]}
    assert Resplit(selection="report").parts(("train", "val", "test")) == ("train", "eval")


@pytest.mark.parametrize("rule", ["sequential", "random"])
def test_choosing_apart_from_a_published_evaluation_part(rule: str) -> None:
    made = card(rule=rule, shares={"train": 0.8, "eval": 0.2}, held_out=())
    recordings = found(tuple(f"r{i}" for i in range(50)))
    whole = divide(made, "made", recordings)
    parts = divide(made, "made", recordings, Resplit(selection="apart"))
    assert having(parts, "test") == having(whole, "eval")
    assert having(parts, "train") | having(parts, "val") == having(whole, "train")
    assert len(having(parts, "val")) == 40 // 8
    block = set(sorted(having(whole, "train"), key=lambda id_: int(id_[1:]))[-5:])
    assert (having(parts, "val") == block) == (rule == "sequential")
    assert divide(made, "made", recordings, Resplit(selection=None)) == whole
    assert Resplit(selection="apart").parts(("train", "eval")) == ("train", "val", "test")
    assert Resplit(share=0.5).parts(("train", "eval")) == ("train", "eval")


def test_of_few_training_recordings_one_is_chosen_on() -> None:
    made = card(rule="random", shares={"train": 0.8, "eval": 0.2}, held_out=())
    parts = divide(made, "made", found(tuple(f"r{i}" for i in range(5))), Resplit(selection="apart"))
    assert [len(having(parts, part)) for part in ("train", "val", "test")] == [3, 1, 1]


def test_neighbours_are_the_others_of_a_group() -> None:
    apart, both = (of_lists(Resplit(neighbours=side)) for side in ("apart", "both"))  # type: ignore[arg-type]
    assert having(apart, "test") == having(both, "test") == {"a_1", "a_3", "b_1"}
    assert having(apart, "train") == set(LISTS["train"])
    assert len(having(both, "train")) == len(LISTS["train"])
    assert having(both, "train") - set(LISTS["train"]) == {"a_2", "b_2"}
    assert having(apart, "val") == having(both, "val") == {"v0", "v1"}
    mixed = of_lists(Resplit(neighbours="both", selection="report"))
    assert having(mixed, "eval") == {"a_1", "a_3", "b_1"}


def test_neighbours_in_a_block_are_those_before_and_after() -> None:
    made = card(rule="sequential", order="recorded", shares={"train": 0.7, "val": 0.1, "test": 0.2})
    recordings = found(tuple(f"r{i}" for i in range(30)))
    apart, both = (divide(made, "made", recordings, Resplit(neighbours=side)) for side in ("apart", "both"))  # type: ignore[arg-type]
    assert having(apart, "test") == having(both, "test") == {"r24", "r26", "r28"}
    assert having(both, "train") >= {"r25", "r27", "r29"}
    assert len(having(both, "train")) == len(having(apart, "train")) == 21
    # of two the second is a neighbour, and another one gives its place
    made = card(rule="sequential", order="recorded", shares={"train": 0.4, "val": 0.2, "test": 0.4})
    few = divide(made, "made", recordings[:5], Resplit(neighbours="both"))
    assert having(few, "test") == {"r3"}
    assert len(having(few, "train")) == 2
    assert having(few, "train") > {"r4"}


def test_neighbours_of_single_recordings_are_pieces() -> None:
    whole = csp_data.load("sample")
    apart, both = (
        csp_data.load("sample", resplit={"neighbours": side, "piece_s": 7}) for side in ("apart", "both")
    )
    assert [row.id for row in apart.test.rows] == [row.id for row in both.test.rows]
    first = whole.test[0]
    pieces = [e for e in apart.test if e.id.startswith(first.id)]
    assert [e.id.rsplit(".", 1)[1] for e in pieces] == ["1", "3", "5"]
    for number, piece in zip((0, 2, 4), pieces, strict=True):
        steps = slice(35 * number, 35 * number + 35)
        np.testing.assert_array_equal(piece.targets, first.targets[steps])
        np.testing.assert_allclose(piece.target_time, first.target_time[steps], rtol=0, atol=1e-9)
        np.testing.assert_array_equal(piece.inputs, first.inputs[350 * number : 350 * number + 350])
    assert apart.train.rows == whole.train.rows
    trained = {row.recording for row in both.train.rows}
    assert trained >= {row.recording for row in whole.test.rows}
    assert abs(both.train.seconds - whole.train.seconds) < 40  # the length of a recording
    assert {row.split for row in apart.episodes} == {"train", "val", "test", UNUSED}
    assert apart.parts == whole.parts


def test_pieces_take_the_place_of_half_as_many_recordings() -> None:
    made = card(rule="random", shares={"train": 0.5, "test": 0.5})
    parts = divide(made, "made", found(tuple(f"r{i}" for i in range(8))), Resplit(neighbours="both", piece_s=7))
    assert sorted(parts.values()) == 4 * [("test", "train")] + 2 * [("train",)]


def test_pieces_need_a_split_that_does_not_wait_for_what_is_read(originals: dict[str, Path]) -> None:
    """Which recordings are cut into pieces must be known before they are read."""
    with pytest.raises(
        OptionError, match=r"resplit\.neighbours='paper': expected a split among all found recordings"
    ):
        csp_data.load("joystick", raw=originals["joystick"], protocol="paper", resplit={"neighbours": "apart"})


def test_a_change_that_leaves_nothing_to_train_on_is_refused() -> None:
    made = card(**{**LISTS, "train": ("elsewhere",)})
    for change in (Resplit(share=0.5), Resplit(neighbours="apart"), Resplit(selection="report")):
        with pytest.raises(OptionError, match="a change that leaves recordings of broad to train on"):
            divide(made, "made", found(LISTS["val"] + LISTS["test"]), change)


def test_unused_episodes_are_in_no_statistics() -> None:
    made = csp_data.load("sample", resplit={"neighbours": "apart"}, statistics="all")
    used = np.concatenate([e.targets for part in made.parts for e in made.split(part)]).astype(np.float64)
    np.testing.assert_allclose(made.normalization.targets.shift, used.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(made.normalization.targets.scale, used.std(axis=0, ddof=1), rtol=1e-6)


def test_inputs_that_look_ahead_are_the_same_signal_later() -> None:
    base, ahead = csp_data.load("sample"), csp_data.load("sample", look_ahead_s=0.18)
    for one, other in zip(base.train, ahead.train, strict=True):
        steps = len(other.targets)
        assert 0 <= len(one.targets) - steps <= 1
        np.testing.assert_allclose(other.targets, one.targets[:steps], rtol=0, atol=1e-6)
        np.testing.assert_allclose(other.inputs[: 10 * steps - 9], one.inputs[9 : 10 * steps], rtol=0, atol=1e-5)
        np.testing.assert_allclose(other.target_time, one.target_time[:steps], rtol=0, atol=1e-9)
        np.testing.assert_allclose(other.time - one.time[: 10 * steps], 0.18, rtol=0, atol=1e-9)


def test_the_published_grid_without_its_look_ahead() -> None:
    """Against the path at 50 Hz: target k is the motion up to the last input of chunk k, not the first."""
    options = {"grid": "own-start", "target": "velocity-in-start-frame"}
    fine = csp_data.load("sample", **options, target_hz=50)
    for name, offset in (("published", 0), ("without", 9)):
        made = csp_data.load("sample", **options, **({"look_ahead_s": 0.0} if offset else {}))
        for one, other in zip(fine.test, made.test, strict=True):
            path = np.cumsum(one.targets.astype(np.float64) / 50, axis=0)[offset::10][: len(other.targets)]
            expected = np.linalg.norm(np.diff(path, axis=0), axis=1)
            np.testing.assert_allclose(
                np.linalg.norm(other.targets[1:] / 5, axis=1), expected, atol=1e-5, err_msg=name
            )
            assert not other.targets[0].any()
            np.testing.assert_allclose(other.target_time[0] - other.time[0], offset / 50, atol=1e-9)


def test_what_is_not_set_leaves_no_trace() -> None:
    """Files and runs that were made before these fields keep their names."""
    plain = csp_data.STRICT
    assert "resplit" not in plain.to_json()
    assert "look_ahead" not in plain.to_json()
    changed = plain.replace(resplit={"share": 0.5}, look_ahead_s=0.1)
    assert Protocol.from_json(changed.to_json()) == changed
    assert "fold" not in changed.to_json()
    folded = plain.replace(resplit={"fold": np.int64(1), "seed": np.int64(2)})
    assert Protocol.from_json(folded.to_json()) == folded
    assert '"by"' not in folded.to_json()
    by_subject = plain.replace(resplit={"fold": 1, "by": "subject"})
    assert Protocol.from_json(by_subject.to_json()) == by_subject
    assert changed.resplit == Resplit(share=0.5)
    assert csp_data.prepare("sample", resplit=None, look_ahead_s=None) == csp_data.prepare("sample")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resplit": {"share": 0}}, "resplit.share=0"),
        ({"resplit": {"fold": 5}}, "resplit.fold=5: expected a whole number from 0 to 4"),
        ({"resplit": {"fold": 1.5}}, "from 0 to 4"),
        ({"resplit": {"fold": 1, "by": "person"}}, "resplit.by='person': expected one of group, subject"),
        ({"resplit": {"by": "subject"}}, "resplit.by='subject': expected a fold with it"),
        ({"resplit": {"fold": 0, "folds": 2}}, "resplit.folds=2: expected a whole number of at least 3"),
        ({"resplit": {"share": 1.5}}, "at most 1"),
        ({"resplit": {"share": "half"}}, "resplit.share='half'"),
        ({"resplit": {"seed": 0.5}}, "resplit.seed=0.5: expected a whole number"),
        ({"resplit": {"piece_s": "ten"}}, "resplit.piece_s='ten'"),
        ({"resplit": {"piece_s": float("inf")}}, "resplit.piece_s=inf"),
        ({"resplit": {"seed": -1}}, "resplit.seed=-1"),
        ({"resplit": {"seed": 2**32}}, "resplit.seed=4294967296: expected a whole number from 0 to 4294967295"),
        ({"resplit": {"piece_s": 0}}, "piece_s=0"),
        ({"resplit": {"selection": "eval"}}, "apart, report"),
        ({"resplit": {"neighbours": "all"}}, "apart, both"),
        ({"resplit": {"shares": 1}}, "fields among by, fold, folds, neighbours, piece_s, seed, selection, share"),
        ({"look_ahead_s": -0.1}, "at least 0 s"),
        ({"grid": "own-start", "look_ahead_s": 0.2}, "at most 0.18 s"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        csp_data.STRICT.replace(**fields)


def test_pieces_that_are_not_used_need_no_windows() -> None:
    """A recording's last piece is shorter; one that is in no part bounds no window."""
    resplit = {"neighbours": "apart", "piece_s": 2.2}
    whole = csp_data.load("sample", resplit=resplit)
    steps = {row.id: row.target_stop - row.target_start for row in whole.episodes if row.split == UNUSED}
    used = min(row.target_stop - row.target_start for row in whole.episodes if row.split != UNUSED)
    assert used > min(steps.values())
    ds = csp_data.load("sample", resplit=resplit, window=Window(used / 5))
    for part in ds.parts:
        ids = {row.id for row in ds.split(part).rows}
        assert {window.id for window in ds.split(part).windows} == ids
        first, again = ds.split(part).windows[0], ds.split(part)[0]
        np.testing.assert_array_equal(first.inputs, again.inputs[: len(first.inputs)])
