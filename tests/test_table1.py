"""Table 1: quoted numbers, recorded runs, and what they show."""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
from scipy import stats

from qsel import table1
from qsel.config import CHOICES, PRESETS
from qsel.runs import Record, RunError
from qsel.table1 import METHODS, METRICS, QUOTED, gather, paired, summary, verdict

PAPER_TEXT = Path(__file__).parents[2] / "shared" / "paper.txt"
RANDOM = {
    "method1": [48.1, 49.3, 47.2, 48.8, 50.0],
    "method2": [49.0, 50.1, 48.9, 49.9, 50.3],
    "random": [40.2, 39.5, 41.0, 40.4, 39.9],
}


def frame(**methods) -> pd.DataFrame:
    """Runs with R@1 as given, one seed after another."""
    return pd.DataFrame(
        [
            {"method": method, "seed": seed, "R@1": value}
            for method, values in methods.items()
            for seed, value in enumerate(values)
        ]
    )


def write_runs(folder: Path, methods=tuple(METHODS), seeds=3) -> dict:
    """Records with random metrics; returns what was written."""
    random, written = np.random.default_rng(0), {}
    for method in methods:
        for seed in range(seeds):
            names = [*METRICS, "MAP@R", "NMI sd"]
            metrics = dict(zip(names, random.random(len(names)).tolist(), strict=True))
            written[method, seed] = metrics
            Record(
                config=tiny.config(method=method, seed=seed).to_dict(),
                preset="smoke",
                data={"name": "tiny"},
                metrics=metrics,
                baseline={"R@1": 0.25},
                curve=[],
                command=f"qsel train --method {method} --seed {seed}",
                versions={},
                device="cpu",
                seconds={"training": 2.5, "evaluation": 1.0},
            ).save(folder / f"{method}-seed{seed}" / "record.json")
    return written


# --- the quoted table ------------------------------------------------------------


def test_quoted_numbers_are_the_papers():
    if not PAPER_TEXT.is_file():
        pytest.skip("the paper's text is not beside the checkout")
    text = re.sub(r"</?u>", "", PAPER_TEXT.read_text(encoding="utf-8"))
    printed = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) == 6 and re.fullmatch(r"\d\d\.\d\d", cells[1]):
            name = re.sub(r"\s*\[\d+\]", "", cells[0])
            printed[name] = tuple(float(cell) for cell in cells[1:])
    assert printed == QUOTED and list(printed) == list(QUOTED)


def test_every_rerun_row_is_a_method_and_the_papers_three_are_quoted():
    assert set(METHODS) == set(CHOICES["method"])
    assert set(METHODS.values()) - set(QUOTED) == {METHODS["hardest_negative"]}
    assert all(len(row) == len(METRICS) for row in QUOTED.values())
    assert set(table1.SEEDS) == set(PRESETS)
    assert {m for pair in table1.COMPARISONS for m in pair} <= set(METHODS)


# --- gathering -------------------------------------------------------------------


def test_gather_reads_every_record(tmp_path):
    written = write_runs(tmp_path)
    runs = gather(tmp_path)
    assert len(runs) == len(METHODS) * 3
    assert runs.method.drop_duplicates().tolist() == list(METHODS)
    for row in runs.to_dict("records"):
        for name, value in written[row["method"], row["seed"]].items():
            assert row[name] == pytest.approx(100 * value, rel=1e-12)
        assert row["start R@1"] == 25 and row["seconds"] == 2.5
        assert f"--seed {row['seed']}" in row["command"]
    for _, rows in runs.groupby("method"):
        assert rows.seed.tolist() == [0, 1, 2]


def test_seeds_are_sorted_as_numbers(tmp_path):
    write_runs(tmp_path, ["random"], seeds=12)
    assert gather(tmp_path).seed.tolist() == list(range(12))


def test_gather_names_a_broken_record(tmp_path):
    write_runs(tmp_path, ["random"], seeds=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "record.json").write_text("{")
    with pytest.raises(RunError, match="other"):
        gather(tmp_path)


def test_gather_of_nothing_is_empty(tmp_path):
    assert len(gather(tmp_path)) == 0
    table = summary(gather(tmp_path))
    assert table.index.tolist() == list(METHODS.values())
    assert (table.drop(columns="runs") == "not run").all(axis=None)


def test_gather_does_not_mix_two_tables(tmp_path):
    """The same row and seed twice, from two presets or data sets, is no table."""
    for name in ("smoke", "laptop"):
        write_runs(tmp_path / name, ["random"], seeds=2)
    with pytest.raises(ValueError, match="random"):
        gather(tmp_path)


def test_summary_is_mean_and_standard_deviation(tmp_path):
    written = write_runs(tmp_path, ["random", "method2"])
    table = summary(gather(tmp_path))
    assert table.index.name == "method"
    for method, name in METHODS.items():
        for metric in [*METRICS, "MAP@R"]:
            if method not in ("random", "method2"):
                assert table.loc[name, metric] == "not run"
                assert table.loc[name, "runs"] == 0
                continue
            values = [100 * written[method, seed][metric] for seed in range(3)]
            mean = math.fsum(values) / 3
            deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / 2)
            assert table.loc[name, metric] == f"{mean:.2f} ± {deviation:.2f}"
            assert table.loc[name, "runs"] == 3


def test_one_run_has_no_spread(tmp_path):
    write_runs(tmp_path, ["random"], seeds=1)
    cell = summary(gather(tmp_path)).loc[METHODS["random"], "R@1"]
    assert re.fullmatch(r"\d+\.\d\d", cell)


# --- comparing -------------------------------------------------------------------


def test_paired_goes_seed_by_seed():
    runs = frame(**RANDOM).sample(frac=1, random_state=0)
    gaps = paired(runs, "method2", "method1")
    expected = np.subtract(RANDOM["method2"], RANDOM["method1"])
    assert gaps.sort_index().tolist() == pytest.approx(expected.tolist())


def test_paired_leaves_out_seeds_that_one_row_lacks():
    runs = frame(method1=[1.0, 2.0, 3.0], method2=[5.0])
    assert paired(runs, "method2", "method1").tolist() == [4.0]


@pytest.mark.parametrize("runs", [frame(method1=[1.0, 2.0]), frame(random=[1.0])])
def test_paired_without_one_of_the_rows_is_empty(runs):
    assert len(paired(runs, "method1", "method2")) == 0


def interval(a, b):
    """Mean gap and its 95 % interval, by scipy's paired t-test."""
    found = stats.ttest_rel(RANDOM[a], RANDOM[b])
    low, high = found.confidence_interval(0.95)
    return f"{low:.2f} to {high:.2f}, 5 seeds", found.pvalue


def test_ahead():
    bounds, p = interval("method2", "random")
    assert p < 0.05
    said = verdict(frame(**RANDOM), "method2", "random")
    assert said.startswith(f"{METHODS['method2']} is ahead of {METHODS['random']}")
    assert "in R@1" in said and bounds in said


def test_behind_is_the_other_ahead():
    runs = frame(**RANDOM)
    assert verdict(runs, "random", "method2") == verdict(runs, "method2", "random")


def test_level():
    runs = frame(method1=[48.0, 50.0, 49.0], method2=[49.0, 49.0, 49.3])
    said = verdict(runs, "method2", "method1")
    assert "are level in R@1" in said and "3 seeds" in said
    assert stats.ttest_rel([49.0, 49.0, 49.3], [48.0, 50.0, 49.0]).pvalue > 0.05
    assert "are level" in verdict(frame(method1=[1, 2], method2=[1, 2]), *METHODS_12)


METHODS_12 = ("method1", "method2")


def test_the_verdict_follows_the_t_test():
    random = np.random.default_rng(1)
    for _ in range(50):
        a = random.normal(50, 1, 4)
        b = random.normal(50 + random.normal(0, 1.5), 1, 4)
        said = verdict(frame(method1=a, method2=b), *METHODS_12)
        found = stats.ttest_rel(a, b)
        assert ("is ahead of" in said) == (found.pvalue < 0.05)
        first = METHODS["method1" if a.mean() > b.mean() else "method2"]
        assert said.startswith(first)


@pytest.mark.parametrize(
    ("runs", "common"),
    [
        (frame(method1=[1.0], method2=[2.0]), 1),
        (frame(method1=[1.0, 2.0]), 0),
        (frame(random=[1.0, 2.0]), 0),
        (pd.DataFrame(), 0),
    ],
)
def test_too_few(runs, common):
    said = verdict(runs, *METHODS_12)
    assert f"{common} common seeds, too few to tell" in said


def test_another_metric():
    runs = frame(method1=[1.0, 2.0, 3.0], method2=[2.0, 3.0, 4.1])
    runs["NMI"] = -runs["R@1"]
    said = verdict(runs, *METHODS_12, metric="NMI")
    assert said.startswith(METHODS["method1"]) and "in NMI" in said


# --- running ---------------------------------------------------------------------


def test_folders_of_different_runs_differ():
    folders = {
        table1.run_folder("runs", source, preset, method, seed)
        for source in ("synthcars", "a/cars", "a/cars?parts=train", "a/cars?seed=1")
        for preset in ("smoke", "laptop")
        for method in METHODS
        for seed in (0, 1, 10)
    }
    assert len(folders) == 4 * 2 * 4 * 3
    assert not any(set("?&") & set(folder.as_posix()) for folder in folders)


def test_one_run_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "cache"))
    source = str(tiny.as_folder(tmp_path / "photos"))
    for seed in (0, 1):
        setup, record, folder = table1.one_run(
            source, "smoke", "random", seed, tmp_path / "runs", tiny.SETTINGS
        )
        assert record.config == setup.config.to_dict()
        assert record.config["seed"] == seed and record.config["epochs"] == 2
        assert (folder / "model.pt").is_file()
    runs = gather(tmp_path / "runs")
    assert runs.seed.tolist() == [0, 1] and set(runs.method) == {"random"}


def test_recorded_runs_are_found_or_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="results"):
        table1.recorded()
    (tmp_path / "results" / table1.RECORDED).mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    here = table1.recorded().resolve()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert table1.recorded().resolve() == here
