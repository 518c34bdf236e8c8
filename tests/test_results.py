"""What is published agrees with the records it is said to come from."""

import json
from pathlib import Path

import pytest

from qsel import table1
from qsel.config import TUNED, Config, preset
from qsel.runs import Record
from qsel.tuning import SPACES, score, trials

ROOT = Path(__file__).parents[1]
RECORDS = sorted((ROOT / "results" / table1.RECORDED).rglob("record.json"))


@pytest.mark.parametrize("name", SPACES)
def test_tuned_settings_are_the_winners_of_the_recorded_search(name):
    search = json.loads((ROOT / "results" / "tuning" / f"{name}.json").read_text())
    budget = {}
    for method in table1.METHODS:
        totals = {}
        for run in search["runs"]:
            if run["method"] == method:
                totals.setdefault(run["trial"], []).append(score(run["metrics"]))
        budget[method] = {trial: len(scores) for trial, scores in totals.items()}
        best = max(totals, key=lambda trial: sum(totals[trial]))
        assert TUNED[name, method] == search["trials"][best]
    assert len({json.dumps(b, sort_keys=True) for b in budget.values()}) == 1
    assert search["trials"] == trials(name, len(search["trials"]))


def test_every_row_has_five_recorded_runs_on_photographs():
    runs = table1.gather(ROOT / "results" / table1.RECORDED)
    assert runs.groupby("method")["seed"].apply(sorted).to_dict() == {
        method: [0, 1, 2, 3, 4] for method in table1.METHODS
    }


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_a_record_is_of_the_tuned_preset_and_holds_no_path(path):
    record = Record.load(path)
    wanted = preset("frozen", record.config["method"]).with_settings(
        {"seed": record.config["seed"], "trunk": "lite0:lite0", "resize": 224}
    )
    assert Config(**record.config) == wanted
    assert record.data["train"]["images"] == 4052
    assert record.data["test"]["images"] == 4092
    assert "/" not in record.command


def test_the_readme_shows_the_recorded_table():
    runs = table1.gather(ROOT / "results" / table1.RECORDED)
    assert table1.markdown(table1.summary(runs)) in (ROOT / "README.md").read_text()
