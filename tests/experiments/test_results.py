"""What is published agrees with the records it is said to come from."""

import json
from pathlib import Path

import pytest

from qsel.experiments import ablations, switches, table1
from qsel.experiments.comparison import COMPARISONS, OTHER_POSITIVES, judge
from qsel.experiments.config import TUNED, Config, preset
from qsel.experiments.record import RESULTS_VERSION, Record
from qsel.experiments.row_names import ADDED, QUADRUPLETS, QUOTED, UNTRAINED
from qsel.experiments.rows import ROWS, TITLES
from qsel.experiments.winners import shared, winners

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "results" / table1.RECORDED
TRAINED_TRUNK = ROOT / "results" / table1.RECORDED_TRAINED
CARS = ROOT / "results" / table1.RECORDED_SYNTHCARS
SWITCHED = ROOT / "results" / ablations.RECORDED
SWITCHED_CARS = ROOT / "results" / Path(ablations.RECORDED_ALIKE).parent
TRAINED = QUOTED + QUADRUPLETS  # what a table runs by default
PHOTOGRAPHS = {"trunk": "lite0:lite0", "resize": 224}  # over the preset


def records(folder: Path) -> list[tuple[Path, Record]]:
    paths = sorted(folder.rglob("record.json"))
    assert paths, f"no records in {folder}"
    return [(path.parent, Record.load(path)) for path in paths]


def test_every_record_is_of_this_results_version():
    for path, record in records(ROOT / "results"):
        assert record.versions["results"] == RESULTS_VERSION, path


@pytest.mark.parametrize(
    "path", sorted((ROOT / "results" / "tuning").glob("*.json")), ids=lambda p: p.stem
)
def test_tuned_settings_are_the_winners_of_the_recorded_search(path):
    search = json.loads(path.read_text())
    chosen = search["chosen"]
    assert chosen == {m: TUNED[path.stem, m] for m in chosen}
    budgets = {m: sum(run["method"] == m for run in search["runs"]) for m in chosen}
    most = max(budgets.values())
    for method, trials in budgets.items():  # if not the same, more for the paper's
        assert trials == most or (path.stem == "upper" and method in ADDED)
    if "held out" in search:  # older ones had another score
        assert search["results version"] == RESULTS_VERSION
        assert chosen == winners(search["runs"])
        assert search["shared"] == shared(search["runs"])


@pytest.mark.parametrize(
    ("folder", "rows", "seeds"),
    [(TABLE, ROWS, 3), (CARS, TRAINED, 5)],
    ids=["frozen", "SynthCars"],
)
def test_every_row_has_its_recorded_runs(folder, rows, seeds):
    runs = table1.gather(folder)
    expected = dict.fromkeys(rows, list(range(seeds)))
    expected |= dict.fromkeys(UNTRAINED, [0])
    assert runs.groupby("method")["seed"].apply(sorted).to_dict() == expected


def test_a_recorded_ablation_has_three_runs_of_each_of_its_rows():
    found = ablations.gather(SWITCHED, table1.gather(TABLE))
    counts = found.groupby(["ablation", "method"])["seed"].apply(sorted).to_dict()
    expected = {
        (name, row): [0, 1, 2]
        for name in set(found.ablation)
        for row in switches.SWITCHES[name].rows
    }
    assert counts == expected
    assert found["R@1 change"].notna().all()


def test_a_record_is_of_the_tuned_preset_and_holds_no_path():
    for path, record in records(TABLE):
        wanted = preset("frozen", record.config["method"]).with_settings(
            PHOTOGRAPHS | {"seed": record.config["seed"]}
        )
        assert Config(**record.config) == wanted, path
        assert record.data["train"]["images"] == 4052, path
        assert record.data["test"]["images"] == 4092, path
        assert "/" not in record.command, path


def test_a_synthcars_record_is_of_the_tuned_preset():
    for path, record in records(CARS):
        method, seed = record.config["method"], record.config["seed"]
        wanted = preset("laptop", method).with_settings({"seed": seed})
        assert Config(**record.config) == wanted, path


def test_an_ablation_changes_what_it_says():
    for path, record in records(SWITCHED):
        name = path.parent.name
        own = Record.load(TABLE / path.name / "record.json")
        wanted = switched(record, name, "frozen", PHOTOGRAPHS)
        assert Config(**record.config) == wanted, path
        same_data = not switches.SWITCHES[name].options
        assert (record.data == own.data) == same_data, path
        assert "/" not in record.command, path


def test_an_ablation_on_synthcars_does_so_too():
    for path, record in records(SWITCHED_CARS):
        own = Record.load(CARS / path.name / "record.json")
        wanted = switched(record, path.parent.name, "laptop", {})
        assert Config(**record.config) == wanted, path
        assert record.data == own.data, path


def switched(record: Record, name: str, preset_name: str, shared: dict) -> Config:
    """The settings that a record of an ablation should have."""
    method, seed = record.config["method"], record.config["seed"]
    found = ablations.jobs("data", preset_name, [name], shared)
    (settings,) = [job.settings for job in found if job.method == method]
    return preset(preset_name, method).with_settings(settings | {"seed": seed})


def test_the_verdict_is_what_the_records_show():
    trained, frozen, cars = map(table1.gather, (TRAINED_TRUNK, TABLE, CARS))
    of_trained, of_frozen, of_cars = (
        {m: f"{r1:.1f} %" for m, r1 in runs.groupby("method")["R@1"].mean().items()}
        for runs in (trained, frozen, cars)
    )
    everywhere = [
        f"Random quadruplets reach {of_trained['random']}, the nearest negative with "
        f"random positives {of_trained['hardest_negative']}, Method 1 "
        f"{of_trained['method1']} and Method 2 {of_trained['method2']}.",
        f"nobody trained reach {of_trained['start']}.",
        f"images and steps, reaches {of_trained['classification']}.",
        f"knows no coarse labels, reaches {of_trained['multi_similarity']}.",
        f"fine labels alone reaches {of_trained['fine_only']}.",
        f"Semi-Hard ({of_cars['semi_hard']}) and Lifted Structure "
        f"({of_cars['lifted_structure']}) beat every quadruplet row (Method 2: "
        f"{of_cars['method2']}).",
    ]
    nearest = judge(frozen, "nearest_all", "hardest_negative")
    of_the_chapter = [
        f"Random reaches {of_frozen['random']}, the control "
        f"{of_frozen['hardest_negative']}, Method 1 {of_frozen['method1']} and "
        f"Method 2 {of_frozen['method2']}; the untrained features "
        f"{of_frozen['start']}.",
        f"Proxy-Anchor reaches {of_trained['proxy_anchor']}.",
        f"{nearest.difference:.1f} points above the control",
    ]
    chapter = json.loads((ROOT / "notebooks" / "4_results.ipynb").read_text())
    words = " ".join("".join(cell["source"]) for cell in chapter["cells"])
    pages = [(ROOT / page).read_text() for page in ("README.md", "book/index.md")]
    for page in (*pages, words):
        for sentence in everywhere:
            assert sentence in " ".join(page.split())
    for sentence in of_the_chapter:
        assert sentence in " ".join(words.split())

    gain = judge(trained, "hardest_negative", "random")
    assert gain.ahead and 5.5 < gain.difference < 6.5
    for method in ("method1", "method2"):
        assert not judge(trained, method, "hardest_negative").clear
    for row in ("classification", "multi_similarity"):
        assert judge(trained, "method2", row).behind
    assert not judge(trained, "method2", "fine_only").ahead
    for pair in COMPARISONS + OTHER_POSITIVES:
        assert not judge(frozen, *pair).clear
    for row in ("semi_hard", "lifted_structure"):
        assert all(judge(cars, row, quadruplets).ahead for quadruplets in QUADRUPLETS)


def test_the_readme_shows_some_rows_of_the_trained_table():
    summary = table1.summary(table1.gather(TRAINED_TRUNK)).drop(columns="MAP@R")
    rows = ("start", "random", "hardest_negative", "method2", "classification")
    shown = [TITLES[row] for row in (*rows, "multi_similarity")]
    table = table1.markdown(summary.loc[shown])
    assert table in (ROOT / "README.md").read_text()


def test_the_trained_rows_have_the_settings_of_the_search():
    """The quadruplet rows, and that with fine labels alone, those that they share."""
    search = json.loads((ROOT / "results" / "tuning" / "upper.json").read_text())
    for path, record in records(TRAINED_TRUNK):
        method, seed = record.config["method"], record.config["seed"]
        if method in UNTRAINED:
            continue
        wanted = preset("upper", method).with_settings(search["shared settings"])
        if method in (*QUADRUPLETS, "fine_only"):
            wanted = wanted.with_settings(search["shared"])
        assert Config(**record.config) == wanted.with_settings({"seed": seed}), path
        assert not set(search["held out"]) - set(record.data["trained on"])
