"""``csp-data simulate``: a tree that can be prepared, and that says everywhere that it is simulated."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from click.testing import CliRunner

import csp_data
from csp_data.cli import cli


def test_a_simulated_tree_goes_all_the_way_and_says_what_it_is(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    done = CliRunner().invoke(cli, ["simulate", "vector", str(tree), "--hours", "0.05", "--seed", "3"])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tree}\n"
    ds = csp_data.load("vector", raw=tree, protocol="strict")
    assert ds.provenance["kind"] == "simulated"
    assert "simulated" in repr(ds)
    info = CliRunner().invoke(cli, ["info", "vector", "--prepared", "--raw", str(tree), "--protocol", "strict"])
    assert "simulated" in info.stdout.split("Prepared:")[1]
    assert info.stdout.splitlines()[1] == "(CSP-Bench; those prepared here are simulated)"
    assert CliRunner().invoke(cli, ["info", str(ds.path)]).stdout.splitlines()[1].endswith("are simulated)")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vectr"], "Did you mean 'vector'"),
        (["vector", "--hours", "0"], "above 0 h"),
        (["vector", "--jobs", "-1"], "x>=1"),
    ],
)
def test_bad_arguments_are_usage_errors(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(cli, ["simulate", arguments[0], str(tmp_path / "tree"), *arguments[1:]])
    assert done.exit_code == 2
    assert message in done.stderr


def test_python_and_the_command_have_the_same_defaults() -> None:
    in_python = inspect.signature(csp_data.simulate).parameters
    typed = {str(one.name): one.default for one in cli.commands["simulate"].params}
    for name in ("hours", "seed", "jobs"):
        assert in_python[name].default == typed[name]
