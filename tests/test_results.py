"""What is published agrees with the records it is said to come from."""

import json
from pathlib import Path

import pytest

from qsel import ablations, table1, table1_verdicts
from qsel.config import TUNED, Config, preset
from qsel.methods import ROWS, UNTRAINED
from qsel.runs import RESULTS_VERSION, Record
from qsel.tuning import SPACES, score, trials

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "results" / table1.RECORDED
CARS = ROOT / "results" / table1.RECORDED_SYNTHCARS
SWITCHED = ROOT / "results" / ablations.RECORDED
SWITCHED_CARS = ROOT / "results" / Path(ablations.RECORDED_ALIKE).parent
PHOTOGRAPHS = {"trunk": "lite0:lite0", "resize": 224}  # over the preset


def records(folder: Path) -> list:
    paths = sorted(folder.rglob("record.json"))
    assert paths, f"no records in {folder}"
    return [
        pytest.param(path, id=path.relative_to(ROOT / "results").parent.as_posix())
        for path in paths
    ]


@pytest.mark.parametrize("path", records(ROOT / "results"))
def test_every_record_is_of_this_results_version(path):
    assert Record.load(path).versions["results"] == RESULTS_VERSION


@pytest.mark.parametrize("name", SPACES)
def test_tuned_settings_are_the_winners_of_the_recorded_search(name):
    search = json.loads((ROOT / "results" / "tuning" / f"{name}.json").read_text())
    budgets = set()
    for method in ROWS:
        runs = [run for run in search["runs"] if run["method"] == method]
        totals: dict[int, float] = {}
        for run in runs:
            reached = score(run["metrics"]) if "metrics" in run else 0.0
            assert run["score"] == reached
            totals[run["trial"]] = totals.get(run["trial"], 0.0) + reached
        best = max(totals, key=totals.get)
        (settings,) = {json.dumps(r["settings"]) for r in runs if r["trial"] == best}
        assert TUNED[name, method] == search["chosen"][method] == json.loads(settings)
        budgets.add((len(totals), len(runs)))
    assert len(budgets) == 1  # the same for every row


@pytest.mark.parametrize("name", SPACES)
def test_the_search_ran_the_trials_it_drew(name):
    search = json.loads((ROOT / "results" / "tuning" / f"{name}.json").read_text())
    count = 1 + max(run["trial"] for run in search["runs"])
    for method in ROWS:
        drawn = trials(name, count, method)
        for run in search["runs"]:
            if run["method"] == method:
                assert run["settings"] == drawn[run["trial"]]


@pytest.mark.parametrize(("folder", "seeds"), [(TABLE, 5), (CARS, 5)])
def test_every_row_has_its_recorded_runs(folder, seeds):
    runs = table1.gather(folder)
    expected = dict.fromkeys(ROWS, list(range(seeds))) | dict.fromkeys(UNTRAINED, [0])
    assert runs.groupby("method")["seed"].apply(sorted).to_dict() == expected


def test_a_recorded_ablation_has_three_runs_of_each_of_its_rows():
    found = ablations.gather(SWITCHED, table1.gather(TABLE))
    counts = found.groupby(["ablation", "method"])["seed"].apply(sorted).to_dict()
    expected = {
        (name, row): [0, 1, 2]
        for name in set(found.ablation)
        for row in ablations.SWITCHES[name].rows
    }
    assert counts == expected
    assert found["R@1 change"].notna().all()


@pytest.mark.parametrize("path", records(TABLE))
def test_a_record_is_of_the_tuned_preset_and_holds_no_path(path):
    record = Record.load(path)
    wanted = preset("frozen", record.config["method"]).with_settings(
        PHOTOGRAPHS | {"seed": record.config["seed"]}
    )
    assert Config(**record.config) == wanted
    assert record.data["train"]["images"] == 4052
    assert record.data["test"]["images"] == 4092
    assert "/" not in record.command


@pytest.mark.parametrize("path", records(CARS))
def test_a_synthcars_record_is_of_the_tuned_preset(path):
    record = Record.load(path)
    method, seed = record.config["method"], record.config["seed"]
    assert Config(**record.config) == preset("laptop", method).with_settings(
        {"seed": seed}
    )


@pytest.mark.parametrize("path", records(SWITCHED))
def test_an_ablation_changes_what_it_says(path):
    record, name = Record.load(path), path.parents[1].name
    own = Record.load(TABLE / path.parent.name / "record.json")
    assert Config(**record.config) == switched(record, name, "frozen", PHOTOGRAPHS)
    assert (record.data == own.data) == (not ablations.SWITCHES[name].options)
    assert "/" not in record.command


@pytest.mark.parametrize("path", records(SWITCHED_CARS))
def test_an_ablation_on_synthcars_does_so_too(path):
    record, name = Record.load(path), path.parents[1].name
    own = Record.load(CARS / path.parent.name / "record.json")
    assert Config(**record.config) == switched(record, name, "laptop", {})
    assert record.data == own.data
    assert record.versions["results"] == own.versions["results"]


def switched(record: Record, name: str, preset_name: str, shared: dict) -> Config:
    """The settings that a record of an ablation should have."""
    method, seed = record.config["method"], record.config["seed"]
    found = ablations.jobs("data", preset_name, [name], shared)
    (settings,) = [job.settings for job in found if job.method == method]
    return preset(preset_name, method).with_settings(settings | {"seed": seed})


def test_the_readme_shows_the_recorded_table_and_says_what_follows_from_it():
    runs = table1.gather(TABLE)
    readme = (ROOT / "README.md").read_text()
    assert table1.markdown(table1.summary(runs)) in readme
    said = [table1_verdicts.verdict(runs, *pair) for pair in table1_verdicts.CLAIM]
    said += [table1_verdicts.on_the_control(runs)]
    said += [table1_verdicts.verdict(runs, "semi_hard", "method1")]
    cars = table1.gather(CARS)
    said += [table1_verdicts.verdict(cars, *pair) for pair in table1_verdicts.CLAIM]
    said += [table1_verdicts.on_the_control(cars)]
    alike = table1.gather(ROOT / "results" / ablations.RECORDED_ALIKE)
    said += [table1_verdicts.verdict(alike, *table1_verdicts.CLAIM[0])]
    said += [table1_verdicts.on_the_control(alike, alike=True)]
    for sentence in said:
        assert sentence in " ".join(readme.split())
