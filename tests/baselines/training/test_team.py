"""Training on several processes: the result of one process with the same global batch, within rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from baselines.cli import main
from baselines.errors import OptionError
from baselines.runs.run import read_run
from baselines.training.data import Batch
from baselines.training.ledger import count_executed
from baselines.training.team import Team, join_team

# 7 windows a batch on 2 processes: unequal shares; no dropout, whose masks differ between processes
ARGUMENTS = ["train", "sample", "hiss-s4-mamba", "--epochs", "3", "--batch", "7", "--clip-norm", "0.5"]
ARGUMENTS += ["--window-s", "10", "--window-stride-s", "10", "--set", "dim=8", "layers=1", "dropout=0"]


def _torchrun(home: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CSP_DATA_HOME": str(home), "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    start += ["--log-dir", str(out.with_name("torchrun"))]  # else in a new folder beside all temporary ones
    command = [*start, "-m", "baselines", *ARGUMENTS, *more, "--out", str(out)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_two_processes_give_the_result_of_one(home: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    main([*ARGUMENTS, "--out", str(one)])
    done = _torchrun(home, two)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run written to") == 1  # only one process reports
    first, second = read_run(one), read_run(two)
    assert first.config == second.config
    weights, others = load_file(one / "last.safetensors"), load_file(two / "last.safetensors")
    for name, tensor in weights.items():
        if name.startswith("model/"):
            np.testing.assert_allclose(others[name], tensor, atol=2e-4, err_msg=name)
    for line, other in zip(first.epochs, second.epochs, strict=True):
        assert other["train_loss"] == pytest.approx(line["train_loss"], rel=1e-4)
        assert other["val_loss"] == pytest.approx(line["val_loss"], rel=1e-4)
    assert second.results["test"]["mse"] == pytest.approx(first.results["test"]["mse"], rel=1e-3)
    executed = count_executed([two])  # only one process writes
    assert (executed.starts, executed.epochs, executed.finished, executed.twice) == (1, 3, 1, ())
    assert first.epochs[-1]["train_loss"] < 0.99 * first.epochs[0]["train_loss"]  # there was something to compare


def test_shares_are_the_batch() -> None:
    lengths = [4, 1, 3, 2, 4]
    mask = torch.tensor([[step < n for step in range(4)] for n in lengths])
    inputs = torch.arange(5.0)[:, None, None].expand(5, 8, 2)
    batch = Batch(inputs, inputs[:, :4], mask, np.arange(5))
    for size in (1, 2, 3, 5, 7):
        teams = [Team(rank, size) for rank in range(size)]
        shares = [next(iter(team.shares([batch]))) for team in teams]
        assert np.concatenate([share.rows for share in shares]).tolist() == [0, 1, 2, 3, 4]
        assert sum(team._weight for team in teams) == pytest.approx(1.0)
        whole = ((batch.inputs[:, :4, 0] * mask).sum() / mask.sum()).item()
        parts = [((s.inputs[:, :4, 0] * s.mask).sum() / s.mask.sum()).item() for s in shares]
        assert sum(t._weight * p for t, p in zip(teams, parts, strict=True)) == pytest.approx(whole)


def test_a_team_refuses_devices_that_it_cannot_share(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LOCAL_RANK", "0"), ("RANK", "0"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    for device in ("abacus", "meta", "cuda:0"):
        with pytest.raises(OptionError, match=r"device=.*expected cuda"), join_team(device):
            pass


def test_alone_unless_torchrun_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "8")  # a job script's own variable
    with join_team("cpu") as (team, device):
        assert (team.size, team.leads, device) == (1, True, "cpu")
    masks = []
    for rank in (1, 2, 1):
        Team(rank, 3).reseed(seed=4, epoch=2)
        masks.append(torch.rand(3).tolist())
    assert masks[0] == masks[2] != masks[1]
