"""What is published agrees with the records it is said to come from."""

import json
from pathlib import Path

import pytest

from qsel.book import verdicts
from qsel.experiments import ablations, switches, table1
from qsel.experiments.config import TUNED, Config, preset
from qsel.experiments.record import RESULTS_VERSION, Record
from qsel.experiments.row_names import QUADRUPLETS, QUOTED, UNTRAINED
from qsel.experiments.rows import TITLES
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
    assert len(set(budgets.values())) == 1  # the same for every row
    if "held out" in search:  # older ones had another score
        assert search["results version"] == RESULTS_VERSION
        assert chosen == winners(search["runs"])
        assert search["shared"] == shared(search["runs"])


@pytest.mark.parametrize(("folder", "seeds"), [(TABLE, 5), (CARS, 5)])
def test_every_row_has_its_recorded_runs(folder, seeds):
    runs = table1.gather(folder)
    expected = dict.fromkeys(TRAINED, list(range(seeds)))
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


def test_the_readme_shows_the_trained_table_and_says_what_follows_from_it():
    runs = table1.gather(TRAINED_TRUNK)
    shown = [title for method, title in TITLES.items() if method in set(runs.method)]
    readme = (ROOT / "README.md").read_text()
    assert table1.markdown(table1.summary(runs).loc[shown]) in readme
    said = [*verdicts.answers(runs).values()]
    cars = table1.gather(CARS)
    said += [verdicts.on_the_control(cars)]
    alike = table1.gather(ROOT / "results" / ablations.RECORDED_ALIKE)
    said += [verdicts.on_the_control(alike, alike=True)]
    for sentence in said:
        assert sentence in " ".join(readme.split())
    means = cars.groupby("method")["R@1"].mean()
    assert f"Semi-Hard ({means['semi_hard']:.1f} % R@1)" in " ".join(readme.split())
    assert f"Lifted Structure ({means['lifted_structure']:.1f})" in readme
    assert f"(Method 2: {means['method2']:.1f})" in readme
    ahead = means[["semi_hard", "lifted_structure"]].min()
    assert ahead > means[[*QUADRUPLETS]].max() == means["method2"]


def test_the_trained_rows_share_the_setting_of_the_search():
    search = json.loads((ROOT / "results" / "tuning" / "upper.json").read_text())
    expected = {method: preset("upper", method) for method in QUADRUPLETS}
    for path, record in records(TRAINED_TRUNK):
        method = record.config["method"]
        if method in UNTRAINED:
            continue
        wanted = expected[method].with_settings(
            search["shared settings"]
            | search["shared"]
            | {"seed": record.config["seed"]}
        )
        assert Config(**record.config) == wanted, path
        assert not set(search["held out"]) - set(record.data["trained on"])
