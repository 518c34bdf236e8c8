"""Ablations: what is asked for, what is run, and what the records then say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny

from qsel.experiments import ablations, table1
from qsel.experiments import run as experiment
from qsel.experiments.ablations import gather, jobs, run, shown
from qsel.experiments.config import Config, preset
from qsel.experiments.record import Record, RunError
from qsel.experiments.rows import QUADRUPLETS
from qsel.experiments.switches import SWITCHES
from qsel.experiments.tuned import SHARED

ERRATA = Path(__file__).parents[2] / "book" / "errata.md"
SMALL = tiny.SETTINGS | {"epochs": "1", "freeze": "trunk", "augment": "false"}


def write(folder: Path, method: str, seed: int, r1: float, nmi=0.5, code="a") -> None:
    """A record whose R@1 comes from two classes of 100 images."""
    hits = [round(100 * r1), round(100 * r1)]
    metrics = dict.fromkeys([*table1.MEASURED, "NMI sd"], 0.25)
    Record(
        config=Config(method=method, seed=seed).to_dict(),
        preset="smoke",
        data={"name": "tiny"},
        metrics=metrics | {"R@1": r1, "NMI": nmi},
        by_class={"images": [100, 100], "R@1": hits},
        curve=[],
        command="qsel train",
        versions={"results": code},
        device="cpu",
        date="2026-11-24",
        seconds={"training": 1.0, "evaluation": 1.0},
    ).save(folder / f"{method}-seed{seed}" / "record.json")


def test_every_switch_changes_something():
    for name, switch in SWITCHES.items():
        assert switch.words and set(switch.rows) <= set(QUADRUPLETS)
        for method in switch.rows:
            base = preset("frozen", method)
            changed = switch.changed(base)
            other = base.with_settings(changed)  # refuses what is no setting
            # A row may have been tuned to just these, or a preset chosen just that.
            if name not in ("same_settings", "global_heavy"):
                assert other != base or switch.options
            assert not {"method", "seed"} & {*changed}


def test_errata_exist_and_every_switch_of_theirs_is_run():
    text = ERRATA.read_text(encoding="utf-8")
    numbers = {switch.erratum for switch in SWITCHES.values()} - {None}
    for number in numbers:
        assert f"(erratum-{number})=" in text
    # Those that change numbers; 1, 12 and 14 to 17 do not.
    assert numbers == {2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13}


def test_jobs_are_the_rows_of_every_switch_that_changes_something():
    found = jobs("cars?parts=train", "frozen")
    own = {row: preset("frozen", row) for row in QUADRUPLETS}
    shared = SHARED["frozen"]
    tuned = [row for row in own if own[row] != own[row].with_settings(shared)]
    assert [(job.ablation, job.method) for job in found] == [
        (name, row)
        for name, switch in SWITCHES.items()
        for row in (tuned if name == "same_settings" else switch.rows)
    ]
    shared = {"resize": "224", "epochs": "3", "margin1": "0.8"}
    with_shared = {
        (job.ablation, job.method): job.settings
        for job in jobs("cars", "frozen", settings=shared)
    }
    assert with_shared["margins_large", "method2"]["margin1"] == 1.0  # the switch wins
    assert with_shared["no_global", "method2"]["margin1"] == "0.8"
    for job in found:
        body9 = job.ablation == "body9"
        assert job.source == "cars?parts=train" + "&coarse=body9" * body9


@pytest.mark.parametrize("of", ["frozen", "upper", "laptop"])
def test_rows_with_one_setting_differ_in_their_method_alone(of):
    configs = [
        preset(of, job.method).with_settings(job.settings)
        for job in jobs("cars", of, ["same_settings"])
    ]
    assert [config.method for config in configs] == list(QUADRUPLETS)
    assert len({replace(config, method="random") for config in configs}) == 1


def test_what_is_missing_is_run_and_a_failure_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ablations.datasets, "load", lambda source: tiny.zero_shot())
    runs, names = tmp_path / "runs", ["no_global", "random_negative", "unnormalised"]
    trained, real = [], experiment.train

    def fails(data, config, *rest, **how):
        trained.append(config)
        if config.normalise is False:
            raise RuntimeError("the loss became infinite")
        return real(data, config, *rest, **how)

    monkeypatch.setattr(experiment, "train", fails)

    def run_all():
        with pytest.raises(RunError) as error:
            run("tiny", "smoke", runs, 1, names, SMALL)
        said = "unnormalised, method2, seed 0: the loss became infinite"
        assert str(error.value) == said

    run_all()
    done = sorted(runs.rglob("record.json"))
    found = gather(done[0].parents[2], table1.gather("nothing here"))
    assert shown(found) == [
        ("random_negative", "method1"),
        ("random_negative", "method2"),
        ("no_global", "method2"),
    ]
    for path in done:
        settings = Record.load(path).config
        assert (settings["global_weight"] == 0) == ("no_global" in str(path))
        assert (settings["negative"] == "random") == ("random_negative" in str(path))
    done[1].unlink()
    trained.clear()
    run_all()
    assert [config.method for config in trained] == ["method1", "method2"]
    assert done[1].exists()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("cars", "frozen", ["margin"]), r"no ablation 'margin'.*margins_small"),
        (
            ("synthcars", "laptop", ["global_heavy"], {"batch": 2**20}),
            "global_heavy .* laptop .*global_weight=1048576",
        ),
    ],
)
def test_a_mistake_is_said_before_anything_runs(asked, says):
    with pytest.raises(ValueError, match=says):
        jobs(*asked)


@pytest.fixture
def two(tmp_path):
    """The table's own runs and an ablation that costs ten points."""
    for seed in range(3):
        write(tmp_path / "own", "method2", seed, 0.50 + 0.01 * seed)
        write(tmp_path / "all" / "no_global", "method2", seed, 0.40 + 0.01 * seed)
    return tmp_path


def test_changes_are_paired_by_seed(two):
    write(two / "all" / "refresh_5", "method2", 2, 0.60)
    write(two / "all" / "refresh_5", "method2", 7, 0.60)  # the table has no seed 7
    base = table1.gather(two / "own")
    found = gather(two / "all", base)
    assert found.columns[0] == "ablation"
    assert shown(found) == [("refresh_5", "method2"), ("no_global", "method2")]
    changes = found["R@1 change"].tolist()
    expected = [8.0, np.nan, -10.0, -10.0, -10.0]
    assert changes == pytest.approx(expected, nan_ok=True)


def test_runs_of_another_version_do_not_compare(two):
    write(two / "all" / "no_global", "method2", 3, 0.5, code="b")
    with pytest.raises(RunError, match=r"different results versions"):
        gather(two / "all", table1.gather(two / "own"))
    write(two / "other" / "sumed", "method2", 0, 0.5)
    with pytest.raises(RunError, match="sumed is no ablation"):
        gather(two / "other", table1.gather(two / "own"))
