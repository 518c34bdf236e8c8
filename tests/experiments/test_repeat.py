"""A record's command is run again, and nothing else that a record may name."""

import dataclasses
import subprocess
from pathlib import Path

import pytest
import tiny
from typer.testing import CliRunner

from qsel import cli
from qsel.experiments import repeat as repeating
from qsel.experiments.record import RunError
from qsel.experiments.repeat import repeat
from qsel.experiments.table1 import one_run


@pytest.fixture(scope="module")
def run_once(tmp_path_factory):
    """A record as ``qsel table1`` makes it."""
    root = tmp_path_factory.mktemp("repeat")
    source = f"{tiny.as_folder(root / 'photos')}?seed=3"
    settings = tiny.SETTINGS | {"epochs": "2", "dropout": "0.3"}
    asked = (source, "smoke", "method1", 1, root / "runs", settings, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QSEL_CACHE", str(root / "cache"))
        _, record, folder = one_run(*asked)
    return source, record, folder / "record.json"


@pytest.fixture
def recorded(run_once, tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "cache"))
    source, record, _ = run_once
    record.save(tmp_path / "record.json")
    return source, record, tmp_path / "record.json"


def test_the_command_of_a_row_of_the_table_repeats_it(recorded, monkeypatch):
    def in_this_process(words, **options):
        assert words[1:3] == ["-m", "qsel"]
        outcome = CliRunner().invoke(cli.app, [*words[3:], "--workers", "0"])
        return subprocess.CompletedProcess(words, outcome.exit_code)

    monkeypatch.setattr(subprocess, "run", in_this_process)
    monkeypatch.setattr("qsel.experiments.record._commit", lambda package: None)
    source, record, path = recorded
    again = repeat(path, source, trust=True)
    assert again.metrics == record.metrics and again.curve == record.curve
    assert again.command == record.command and again.data == record.data


def test_a_command_is_called_as_a_shell_would(monkeypatch):
    calls = []

    def call(words, env, **options):
        calls.append((words[1:], env["OMP_NUM_THREADS"]))
        return subprocess.CompletedProcess(words, len(calls) - 1)

    monkeypatch.setattr(subprocess, "run", call)
    start = "OMP_NUM_THREADS=2 torchrun --nproc-per-node=3 -m qsel"
    text = f"{start} train --data photos?seed=1 --preset smoke"
    repeating._call_again(text, "/there/photos?seed=1", "out")
    words = "-m torch.distributed.run --standalone --nproc-per-node=3 -m qsel train "
    words += "--data /there/photos?seed=1 --preset smoke --out out"
    assert calls == [(words.split(), "2")]
    with pytest.raises(RunError, match=r"train .* failed"):
        repeating._call_again(text, "/there/photos?seed=1", "out")
    with pytest.raises(RunError, match="say with --data"):
        repeating._call_again(text, None, "out")


def test_what_is_not_repeated_is_told(recorded, monkeypatch):
    source, record, path = recorded
    calls = []

    def call(text, data, folder):
        calls.append(text)
        record.save(Path(folder) / "record.json")

    def changed(by, **versions):
        metrics = record.metrics | {"R@1": record.metrics["R@1"] + by}
        new = dataclasses.replace(record, metrics=metrics)
        dataclasses.replace(new, versions=record.versions | versions).save(path)
        return repeat(path, source, trust=True)

    monkeypatch.setattr(repeating, "_call_again", call)
    with pytest.raises(RunError, match=r"within 0 points: R@1 .* RESULTS_VERSION"):
        changed(1e-12)
    assert changed(0.0299, cpu="another") == record
    older = {key: v for key, v in record.data.items() if key != "trained on"}
    dataclasses.replace(record, data=older).save(path)
    assert repeat(path, source, trust=True) == record
    assert changed(-0.0299, torch="another") == record
    with pytest.raises(RunError, match="within 3 points: R@1"):
        changed(0.0301, cpu="another")
    count = len(calls)
    with pytest.raises(RunError, match="results version 0"):
        changed(0, results=0)
    assert len(calls) == count
    dataclasses.replace(record, data={"name": "other"}).save(path)
    with pytest.raises(RunError, match="other images"):
        repeat(path, source, trust=True)


@pytest.mark.parametrize(
    "command",
    [
        "rm -r photos",
        "torchrun --nproc-per-node=2 evil.py",
        "qsel table1 --data photos",
        "LD_PRELOAD=evil.so qsel train --data photos",
    ],
)
def test_nothing_but_a_training_is_called(recorded, monkeypatch, command):
    source, record, path = recorded
    monkeypatch.setattr(subprocess, "run", None)
    dataclasses.replace(record, command=command).save(path)
    with pytest.raises(RunError, match="is no `qsel train`"):
        repeat(path, source, trust=True)


def test_a_function_that_a_record_names_is_called_only_if_trusted(
    recorded, monkeypatch
):
    source, record, path = recorded
    monkeypatch.setattr(subprocess, "run", None)
    named = "--set trunk=tiny:trunk"
    assert named in record.command
    for same in (named, "--set trunk='tiny':trunk", "--set='trunk =tiny:trunk'"):
        command = record.command.replace(named, same)
        dataclasses.replace(record, command=command).save(path)
        with pytest.raises(RunError, match="--trust"):
            repeat(path, source)
