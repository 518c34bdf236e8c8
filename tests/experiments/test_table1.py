"""Table 1: quoted numbers, recorded runs, and what they show."""

import json
import re
from email.message import Message
from pathlib import Path
from statistics import stdev

import numpy as np
import pytest
import tiny

from qsel.experiments import table1
from qsel.experiments.record import Record, RunError
from qsel.experiments.row_names import BY_DEFAULT
from qsel.experiments.rows import TITLES
from qsel.experiments.table1 import MEASURED, METRICS, QUOTED, beside, gather, summary

PAPER_TEXT = Path(__file__).parents[3] / "shared" / "paper.txt"
CLASSES = [5, 7, 4]  # images of the unseen classes


def write_runs(folder: Path, methods=tuple(TITLES), seeds=3) -> dict:
    """Records with random metrics; returns what was written."""
    random, written = np.random.default_rng(0), {}
    for method in methods:
        for seed in range(seeds):
            names = [*MEASURED, "NMI sd"]
            hits = random.integers(0, np.array(CLASSES) + 1).tolist()
            metrics = dict(zip(names, random.random(len(names)).tolist(), strict=True))
            metrics["R@1"] = sum(hits) / sum(CLASSES)
            written[method, seed] = metrics
            Record(
                config=tiny.config(method=method, seed=seed).to_dict(),
                preset="smoke",
                data={"name": "tiny"},
                metrics=metrics,
                by_class={"images": CLASSES, "R@1": hits},
                curve=[],
                command=f"qsel train --method {method} --seed {seed}",
                versions={},
                device="cpu",
                date="2026-11-24",
                seconds={"training": 2.5, "evaluation": 1.0},
            ).save(folder / f"{method}-seed{seed}" / "record.json")
    return written


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


def test_gather_reads_every_record(tmp_path):
    written = write_runs(tmp_path)
    runs = gather(tmp_path)
    assert len(runs) == len(TITLES) * 3
    assert runs.method.drop_duplicates().tolist() == list(TITLES)
    recorded = tmp_path / "results" / "here" / "results" / "cars"
    write_runs(recorded, ["random"], seeds=1)
    assert gather(recorded).record.item() == "results/cars/random-seed0/record.json"
    for row in runs.to_dict("records"):
        for name, value in written[row["method"], row["seed"]].items():
            assert row[name] == pytest.approx(100 * value, rel=1e-12)
        assert row["seconds"] == 2.5 and row["device"] == "cpu"
        assert sum(row["by_class"]["R@1"]) / 16 == pytest.approx(row["R@1"] / 100)
        assert row["record"] == f"{row['method']}-seed{row['seed']}/record.json"
        assert f"--seed {row['seed']}" in row["command"]
    for _, rows in runs.groupby("method"):
        assert rows.seed.tolist() == [0, 1, 2]


def test_gather_of_nothing_is_empty(tmp_path):
    assert len(gather(tmp_path)) == 0
    table = summary(gather(tmp_path))
    assert table.index.tolist() == [TITLES[m] for m in TITLES if m in BY_DEFAULT]
    assert (table.drop(columns="runs") == "not run").all(axis=None)


@pytest.mark.parametrize("what", ["versions", "data"])
def test_runs_of_other_code_or_other_images_do_not_mix(tmp_path, what):
    write_runs(tmp_path, ["random"])
    path = tmp_path / "random-seed1" / "record.json"
    record = json.loads(path.read_text())
    record[what] = {"results": "another", "name": "another"}
    path.write_text(json.dumps(record))
    with pytest.raises(RunError, match="do not compare"):
        gather(tmp_path)
    write_runs(tmp_path / "laptop", ["random"])
    write_runs(tmp_path, ["random"])
    with pytest.raises(RunError, match="holds several runs of random, seed 0"):
        gather(tmp_path)


def test_beside_is_quoted_rerun_and_difference(tmp_path):
    written = write_runs(tmp_path)
    page = beside(gather(tmp_path))
    assert page.index.tolist() == list(TITLES.values())
    for method, title in TITLES.items():
        for metric in MEASURED:
            mean = sum(100 * written[method, seed][metric] for seed in range(3)) / 3
            cells = page.loc[title]
            values = [100 * written[method, seed][metric] for seed in range(3)]
            spread = f"{mean:.2f} ± {stdev(values):.2f}"
            assert cells[f"{metric} re-run"] == spread
            if title not in QUOTED or metric not in METRICS:
                assert cells[f"{metric} quoted"] == "–"
                assert cells[f"{metric} difference"] == "–"
                continue
            number = QUOTED[title][METRICS.index(metric)]
            assert float(cells[f"{metric} quoted"]) == number
            gap = float(cells[f"{metric} difference"])
            assert gap == pytest.approx(mean - number, abs=0.00501)
            assert cells[f"{metric} difference"][0] in "+-"
        assert f"--method {method} --seed 0" in page.loc[title, "command"]
        assert page.loc[title, "record"] == f"{method}-seed0/record.json"


def test_a_record_is_linked_where_the_project_has_an_address(monkeypatch):
    metadata = Message()
    monkeypatch.setattr(table1, "metadata", lambda name: metadata)
    metadata["Project-URL"] = "Docs, https://a.example"
    assert table1.link("results/a/record.json") == "results/a/record.json"
    metadata["Project-URL"] = "Repository, https://b.example/q/"
    found = table1.link("results/a=b/record.json")
    assert found == "https://b.example/q/blob/main/results/a=b/record.json"
    assert table1.link("random-seed0/record.json") == "random-seed0/record.json"


def test_recorded_runs_are_found_or_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="results"):
        table1.recorded()
    (tmp_path / "results").mkdir()
    (tmp_path / "notebooks").mkdir()
    here = table1.recorded().resolve()
    assert here == (tmp_path / "results" / table1.RECORDED).resolve()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert table1.recorded().resolve() == here
    assert len(gather(table1.recorded("nothing/yet"))) == 0
