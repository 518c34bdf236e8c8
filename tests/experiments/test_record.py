"""Run records and the command that repeats a run."""

import shlex
import subprocess
import tempfile
from pathlib import Path

import pytest
import tiny
from typer.testing import CliRunner

from qsel import cli
from qsel.experiments import config
from qsel.experiments import record as runs
from qsel.experiments.config import Config, preset
from qsel.experiments.record import (
    Record,
    RunError,
    alone_at,
    command,
    versions,
    writable,
)


def record(**changes) -> Record:
    values = dict(
        config=tiny.config().to_dict(),
        preset="smoke",
        data={"name": "tiny"},
        metrics={"R@1": 0.5},
        by_class={"images": [3, 2], "R@1": [1, 2]},
        curve=[{"epoch": 1, "loss": 1 / 3}],
        command="qsel train",
        versions={"python": "3"},
        device="cpu",
        date="2026-11-24",
        seconds={"training": 1.5},
    )
    return Record(**values | changes)


def test_saved_and_loaded(tmp_path):
    saved = record(data={"name": "Škoda Ω"})
    saved.save(tmp_path / "a" / "record.json")
    assert Record.load(tmp_path / "a" / "record.json") == saved
    assert "Škoda" in (tmp_path / "a" / "record.json").read_text(encoding="utf-8")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["record.json"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", '{"config": {}}', '{"colour": 1}'],
)
def test_no_record_of_this_version(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(RunError, match="not a run record of this version") as error:
        Record.load(path)
    assert str(path) in str(error.value) and "remove it" in str(error.value)


def test_no_record_at_all(tmp_path):
    with pytest.raises(RunError, match=r"no run record at .*record\.json"):
        Record.load(tmp_path / "record.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunError, match=r"bytes\.json"):
        Record.load(tmp_path / "bytes.json")
    with pytest.raises(RunError, match=str(tmp_path)):
        Record.load(tmp_path)


def test_versions_name_what_computes(monkeypatch):
    found = versions()
    assert {"python", "qsel", "cpu", *runs.PACKAGES} <= set(found)
    assert all(isinstance(value, str | int) and value for value in found.values())
    assert found["results"] == runs.RESULTS_VERSION
    monkeypatch.setenv("PATH", "")  # without git
    assert "torch" in versions() and "commit" not in versions()


def git(root: Path, *words: str) -> str:
    """A git command of somebody who has no settings."""
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=a"]
    return subprocess.run(
        ["git", *who, "-C", str(root), *words],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_the_commit_is_the_last_that_changed_the_package(tmp_path):
    package = tmp_path / "lib" / "qsel"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    assert runs._commit(package) is None
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "of others")
    assert runs._commit(package) is None  # it lies there, and is not tracked
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "with the package")
    commit = git(tmp_path, "rev-parse", "HEAD")[:12]
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "of others")
    assert runs._commit(package) == commit
    (package / "__init__.py").write_text("x = 1")
    assert runs._commit(package) == f"{commit} with changes"


def test_a_place_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    writable(tmp_path / "a" / "b")
    assert not [*tmp_path.iterdir()]
    (tmp_path / "taken").write_text("")
    for folder in ("taken", "taken/below"):
        with pytest.raises(RunError, match=r"taken is a file\); give .* with --runs"):
            writable(tmp_path / folder, "--runs")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write all
    with pytest.raises(RunError, match="no permission to write to"):
        writable(tmp_path / "a")


def test_two_programs_do_not_write_one_run_and_nothing_is_left_of_none(tmp_path):
    run = tmp_path / "run"
    refused = pytest.raises(RunError, match="another program")
    with alone_at(run, run / "lock"), refused, alone_at(run, run / "lock"):
        pass
    assert not run.exists()
    with alone_at(run, run / "lock"):
        (run / "record.json").write_text("{}")
    assert run.exists()


def read_back(text: str, monkeypatch) -> tuple[str, str, Config]:
    """Data, preset and settings that the command line makes of a command."""
    caught = []

    class Caught(Exception):
        pass

    def catch(setup, *arguments, **options):
        caught.append((setup.source, setup.preset, setup.config))
        raise Caught

    monkeypatch.setattr("qsel.experiments.run.run", catch)
    monkeypatch.setattr("qsel.data.load", lambda source: None)
    words = shlex.split(text)
    assert words[0] == "qsel"
    out = tempfile.mkdtemp()
    outcome = CliRunner().invoke(cli.app, [*words[1:], "--out", out])
    assert isinstance(outcome.exception, Caught), outcome.output
    return caught[0]


def changed(base: Config) -> dict[str, object]:
    """Another value of every setting but the method."""
    found = {"freeze": "trunk", "trunk": "package.module:function", "weights": None}
    found |= {"whiten": 0.25, "margin": 1 / 3, "last_epoch": 3, "refresh": 5}
    found |= {"resize": 999, "crop_scale": 0.1 + 0.2, "momentum": 1e-17}
    for name, value in base.to_dict().items():
        if name in config.CHOICES:
            found[name] = next(c for c in config.CHOICES[name] if c != value)
        elif name not in found:
            plus = {bool: not value, int: value + 1, float: value / 3 + 0.1}
            found[name] = plus[type(value)]
    found.pop("method")
    return found


@pytest.mark.parametrize("name", config.PRESETS)
def test_the_command_repeats_the_settings(name, monkeypatch):
    base = preset(name, "random")
    text = command("synthcars", name, base, base)
    assert "--set" not in text
    assert read_back(text, monkeypatch)[2] == base
    wanted = base.with_settings(changed(base))
    text = command("synthcars", name, wanted, base)
    assert read_back(text, monkeypatch) == ("synthcars", name, wanted)


def test_the_command_has_threads_and_processes():
    base = preset("smoke")
    assert command("a", "smoke", base, base).startswith("qsel train ")
    text = command("a", "smoke", base, base, threads=2, processes=3)
    start = "OMP_NUM_THREADS=2 torchrun --nproc-per-node=3 -m qsel train --data a "
    assert text.startswith(start)


@pytest.mark.parametrize("source", ["cars?parts=train&coarse=body9", "it's; $HOME"])
def test_the_command_can_be_pasted_into_a_shell(source, monkeypatch):
    base = preset("smoke")
    settings = base.with_settings({"weights": "my weights & more.pt"})
    text = command(source, "smoke", settings, base)
    assert read_back(text, monkeypatch)[0] == source
    assert read_back(text, monkeypatch)[2] == settings
