"""Run records and the command that repeats a run."""

import ast
import dataclasses
import json
import shlex
import subprocess
from pathlib import Path

import pytest
import tiny
from typer.testing import CliRunner

from qsel import cli
from qsel.experiments import config
from qsel.experiments import record as runs
from qsel.experiments.config import Config, preset
from qsel.experiments.record import Record, RunError, command, versions


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


@pytest.mark.parametrize("metrics", [{"R@1": object()}, {("a", "b"): 1}])
def test_what_json_cannot_hold_leaves_the_old_record(tmp_path, metrics):
    path = tmp_path / "record.json"
    record().save(path)
    with pytest.raises(TypeError):
        record(metrics=metrics).save(path)
    assert Record.load(path) == record()
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_leaves_the_old_record(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    record().save(path)

    def half(self, text, **options):
        self.write_bytes(text.encode()[: len(text) // 2])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="no space"):
        record(preset="laptop").save(path)
    assert Record.load(path) == record()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '"text"', "null", "{}", '{"config": {}}', '{"colour": 1}'],
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


def test_versions_name_what_computes():
    found = versions()
    assert {"python", "qsel", "torch", "torchvision", "numpy", "cpu"} <= set(found)
    assert all(isinstance(value, str | int) and value for value in found.values())
    assert found["results"] == runs.RESULTS_VERSION
    assert len(found["source"]) == 12 and int(found["source"], 16) >= 0


def test_versions_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
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


@pytest.mark.parametrize("where", [".", "src", ".venv/lib/site-packages"])
def test_the_commit_is_that_of_the_packages_own_repository(tmp_path, where):
    package = tmp_path / where / "qsel"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (tmp_path / "pyproject.toml").write_text("")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "pyproject.toml")
    git(tmp_path, "commit", "--quiet", "--message", "somebody's project")
    assert runs._commit(package) is None  # it lies there, and is not tracked
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "with the package")
    commit = git(tmp_path, "rev-parse", "HEAD")[:12]
    assert runs._commit(package) == (commit if where == "." else None)
    (package / "__init__.py").write_text("x = 1")
    changed = f"{commit} with changes"
    assert runs._commit(package) == (changed if where == "." else None)


def test_only_statements_count_in_the_digest_of_the_source():
    code = '"""A module."""\nx = 1  # one\n\ndef f():\n    """Doc."""\n    return x\n'
    other = '"""Other."""\nx = 1\n\ndef f():\n    """Words."""\n\n    return x  # x\n'

    def statements(source):
        return ast.unparse(runs.without_docstrings(ast.parse(source)))

    assert statements(code) == statements(other)
    for before, after in (
        ("x = 1", "x = 2"),
        ("return x", "return -x"),
        ("f()", "g()"),
    ):
        assert statements(code) != statements(code.replace(before, after))
    assert statements('def f():\n    "Words."\n') == "def f():\n    pass"


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
    outcome = CliRunner().invoke(cli.app, [*words[1:], "--out", "somewhere"])
    assert isinstance(outcome.exception, Caught), outcome.output
    return caught[0]


CHANGED = dict(
    seed=7,
    margin1=1 / 3,
    margin2=0.1 + 0.2,
    coarse_weight=1e-17,
    fine_weight=0.0,
    global_weight=2.0,
    first_margin="derived",
    reduction="sum",
    trunk="package.module:function",
    weights=None,
    margin=0.3,
    freeze="trunk",
    batch_norm="fixed",
    views=2,
    whiten=0.25,
    embedding_dim=17,
    normalise=False,
    dropout=0.1,
    resize=99,
    image_size=98,
    augment=False,
    crop_scale=0.5,
    optimiser="adamw",
    learning_rate=1.23456789012345e-05,
    trunk_rate=0.3,
    momentum=0.5,
    weight_decay=1e-4,
    schedule="cosine",
    precision="bfloat16",
    batch=3,
    images_per_class=5,
    negative="random",
    siblings="all",
    fallback="nearest",
    variance="squared",
    epochs=4,
    last_epoch=3,
    refresh=5,
    warmup=1,
)


@pytest.mark.parametrize("name", config.PRESETS)
@pytest.mark.parametrize("method", config.CHOICES["method"])
def test_the_command_repeats_the_settings(name, method, monkeypatch):
    assert set(CHANGED) | {"method"} == {f.name for f in dataclasses.fields(Config)}
    wanted = preset(name, method).with_settings(CHANGED)
    text = command("synthcars", name, wanted, preset(name, method))
    assert read_back(text, monkeypatch) == ("synthcars", name, wanted)


def test_the_command_spells_only_what_differs(monkeypatch):
    base = preset("smoke", "random")
    text = command("synthcars", "smoke", base, base)
    assert "--set" not in text
    assert read_back(text, monkeypatch)[2] == base
    wanted = base.with_settings({"refresh": 2, "schedule": "constant"})
    assert command("synthcars", "smoke", wanted, base).count("--set") == 2


def test_the_command_has_threads_and_processes():
    base = preset("smoke")
    assert command("a", "smoke", base, base).startswith("qsel train ")
    text = command("a", "smoke", base, base, threads=2, processes=3)
    start = "OMP_NUM_THREADS=2 torchrun --nproc-per-node=3 -m qsel train --data a "
    assert text.startswith(start)


@pytest.mark.parametrize(
    "source", ["cars?parts=train&coarse=body9", "my photos", "it's; here", "$HOME"]
)
def test_the_command_can_be_pasted_into_a_shell(source, monkeypatch):
    base = preset("smoke")
    settings = base.with_settings({"weights": "my weights & more.pt"})
    text = command(source, "smoke", settings, base)
    assert read_back(text, monkeypatch)[0] == source
    assert read_back(text, monkeypatch)[2] == settings


def test_record_has_every_part_the_class_promises():
    names = [field.name for field in dataclasses.fields(Record)]
    for name in names:
        assert f"{name}:" in Record.__doc__
    assert json.dumps(dataclasses.asdict(record()))
    assert set(runs.PACKAGES) <= set(versions())
