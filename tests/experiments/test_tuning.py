"""The search for settings: one budget, held-out classes, nothing twice."""

import json
from statistics import mean

import numpy as np
import pytest
import tiny

from qsel.data import ImageSet, ZeroShot, validation
from qsel.experiments import config, tuning
from qsel.experiments.network import embed, evaluate
from qsel.experiments.row_names import QUADRUPLETS
from qsel.experiments.rows import ROWS
from qsel.experiments.training import train
from qsel.experiments.tuning import SPACES, space, trial, tune, untuned
from qsel.hierarchy import Hierarchy


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "cache"))


def drawn(preset, method, count, **settings):
    base = untuned(preset, method, settings)
    ranges = space(preset, method, settings)
    return [trial(number, base, ranges) for number in range(count)]


@pytest.mark.parametrize("name", SPACES)
def test_trials_are_settings_within_their_ranges(name):
    for method in ROWS:
        base, ranges = untuned(name, method), space(name, method)
        for settings in drawn(name, method, 8)[1:]:
            base.with_settings(settings)
            assert settings.keys() == ranges.keys()
            for key, value in settings.items():
                assert 0.999 * ranges[key][0] <= value <= 1.001 * ranges[key][1]
                assert value == float(f"{value:.3g}")
    whole, less = (drawn(name, "random", 4, **s) for s in ({}, {"dropout": 0.2}))
    assert less == [{k: v for k, v in t.items() if k != "dropout"} for t in whole]


@pytest.mark.parametrize("name", SPACES)
def test_trial_0_is_the_preset_whatever_was_tuned(name, monkeypatch):
    monkeypatch.setattr(config, "TUNED", {})
    plain = {method: config.preset(name, method) for method in ROWS}
    tuned = {"dropout": 0.5, "learning_rate": 0.25, "last_epoch": 1}
    monkeypatch.setattr(config, "TUNED", {(name, method): tuned for method in ROWS})
    for method in QUADRUPLETS:
        first = drawn(name, method, 1)[0]
        assert untuned(name, method).with_settings(first) == plain[method]


def test_draws_are_uniform_in_the_logarithm_or_from_0_on():
    base, ranges = untuned("frozen", "random"), {"margin": (1e-4, 1), "whiten": (0, 1)}
    found = [trial(number, base, ranges) for number in range(1, 401)]
    for low, high in ((1e-4, 1e-3), (1e-3, 1e-2), (1e-2, 1e-1), (1e-1, 1)):
        assert 70 < sum(low <= t["margin"] < high for t in found) < 130  # a quarter
    assert 0.45 < mean(t["whiten"] for t in found) < 0.55
    assert len({t["margin"] for t in found}) > 350


def test_rows_with_equal_ranges_draw_the_same_and_each_has_its_own_margin():
    first, *others = (drawn("upper", method, 5) for method in QUADRUPLETS)
    assert others == [first] * 3
    rival = drawn("upper", "semi_hard", 5)
    assert first[0].keys() ^ rival[0].keys() == {"global_weight", "margin"}
    assert len({t["margin"] for t in rival}) > 3
    for own, other in zip(rival, first, strict=True):
        common = own.keys() & other.keys()
        assert len(common) == 4
        assert {own[name] == other[name] for name in common} == {True}


def test_what_cannot_be_searched_is_said(tmp_path):
    data = tiny.zero_shot()
    with pytest.raises(ValueError, match="preset 'paper' has no search space"):
        tune(data, "paper", tmp_path / "a", ["random"])
    with pytest.raises(ValueError, match="no row 'start' to tune"):
        tune(data, "laptop", tmp_path / "a", ["start"])
    with pytest.raises(ValueError, match="whiten acts on frozen features"):
        tune(data, "frozen", tmp_path / "a", ["random"], settings={"freeze": "none"})
    (tmp_path / "taken").write_text("")
    for out in (tmp_path, tmp_path / "taken" / "search.json"):
        with pytest.raises(ValueError, match="--out"):
            tune(data, "laptop", out, ["random"])
    few = ZeroShot("few", data.train, data.test.subset([0, 1, 6, 7]))
    with pytest.raises(ValueError, match="4 images; R@8 needs 9"):
        tune(few, "laptop", tmp_path / "a", ["random"])


SETTINGS = tiny.SETTINGS | {"epochs": "3", "freeze": "trunk", "augment": "false"}


def held_out() -> ZeroShot:
    """Eight classes to train on, and four others."""
    array = np.concatenate([tiny.pixels(0), tiny.pixels(6)])
    fine = [f"f{i // 6:02}" for i in range(len(array))]
    coarse = [f"c{i // 6 % 3}" for i in range(len(array))]
    labels = Hierarchy.from_names(fine, coarse)
    whole = ImageSet.from_array("twelve", array, labels)
    return validation(whole, [*"aaaabbbbcccc"])


@pytest.fixture
def small(monkeypatch):
    """A search space for the tiny trunk, and a list of what is trained."""
    monkeypatch.setitem(SPACES, "smoke", {"learning_rate": (0.01, 0.05)})
    trained = []

    def counted(data, settings, **options):
        trained.append((data, settings))
        return train(data, settings, **options)

    monkeypatch.setattr(tuning, "train", counted)
    return trained


def search(out, count=2, rows=("random",), **options):
    return tune(held_out(), "smoke", out, rows, count, SETTINGS, **options)


def test_a_trial_counts_by_its_best_epoch_on_the_classes_held_out(tmp_path, small):
    out = tmp_path / "search.json"
    found = search(out, count=1, rows=["random", "semi_hard"])
    held = json.loads(out.read_text())
    assert held["chosen"] == found["chosen"] and len(small) == 2
    assert held["held out"] == ["f08", "f09", "f10", "f11"]
    assert held["how"] == ["held out: c"]
    assert held["shared settings"] == SETTINGS and held["preset"] == "smoke"
    assert held["versions"]["results"] == held["results version"]
    for (data, settings), run in zip(small, held["runs"], strict=True):
        assert data.test.hierarchy.fine_names == ("f08", "f09", "f10", "f11")
        assert len(run["R@1"]) == 3
        assert run["score"] == max(run["R@1"]) == run["R@1"][run["best epoch"] - 1]
        trained = train(data, settings)
        x = embed(trained.model, trained.test)
        last = evaluate(x, data.test.hierarchy.fine)["R@1"]
        assert run["R@1"][-1] == last
        assert run.get("below untrained", False) == (run["score"] < found["start"])


def test_nothing_is_run_twice_and_more_trials_go_on(tmp_path, small):
    out = tmp_path / "search.json"
    before = search(out)["runs"]
    assert search(out)["runs"] == before and len(small) == 2
    after = search(out, count=3, rows=["random", "semi_hard"])["runs"]
    assert after[:2] == before and len(small) == 6
    assert [(r["method"], r["trial"]) for r in after[2:]] == [
        *(("semi_hard", 0), ("semi_hard", 1)),
        *(("random", 2), ("semi_hard", 2)),
    ]


def test_another_search_is_refused_and_kept(tmp_path, small):
    out = tmp_path / "search.json"
    search(out, count=1)
    text = out.read_text()
    with pytest.raises(ValueError, match="other shared settings"):
        tune(held_out(), "smoke", out, ["random"], 1)
    other = validation(held_out().train, [*"aaaabbcc"])
    with pytest.raises(ValueError, match="other data; choose another file"):
        tune(other, "smoke", out, ["random"], 1, SETTINGS)
    assert out.read_text() == text and len(small) == 1


def test_two_files_of_one_search_become_one(tmp_path, small):
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    first, second = search(one), search(two, rows=["semi_hard"])
    both = search(one, rows=["random", "semi_hard"], take=[two])
    assert both["runs"] == first["runs"] + second["runs"] and len(small) == 4
    assert both["chosen"] == first["chosen"] | second["chosen"]
    assert both["ranges"] == first["ranges"] | second["ranges"]
    assert json.loads(one.read_text())["runs"] == both["runs"]
    two.write_text(two.read_text().replace('"smoke"', '"laptop"'))
    with pytest.raises(ValueError, match="two.json holds a search with other preset"):
        search(one, take=[two])


def test_a_wider_range_holds_for_the_trials_still_to_come(tmp_path, small, monkeypatch):
    out = tmp_path / "search.json"
    before = search(out)
    for ends in ((0.001, 0.02), (0.01, 0.05)):  # and is never narrowed again
        monkeypatch.setitem(SPACES, "smoke", {"learning_rate": ends})
        after = search(out, count=3)
        assert after["ranges"]["random"]["learning_rate"] == (0.001, 0.05)
        assert after["runs"][:2] == before["runs"]
        wide = {"learning_rate": (0.001, 0.05)}
        expected = trial(2, untuned("smoke", "random"), wide)
        assert after["runs"][2]["settings"].items() >= expected.items()


def test_settings_that_do_not_train_lose_and_are_told(
    tmp_path, small, monkeypatch, capsys
):
    row = "method2"
    monkeypatch.setitem(SPACES, "smoke", {"learning_rate": (999, 1000)})
    settings = tiny.SETTINGS | {"epochs": "3", "refresh": "1"}
    found = tune(held_out(), "smoke", tmp_path / "a", [row], 2, settings)
    failed = found["runs"][1]
    assert "nan" in failed["failed"].lower() and failed["score"] == 0
    assert failed["below untrained"] and "best epoch" not in failed
    assert found["chosen"][row]["learning_rate"] == 0.01  # the preset's
    assert f"{row}: R@1 0.00% is below untrained" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", '{"runs": []}'])
def test_a_file_that_is_no_search_is_named_and_kept(tmp_path, small, text):
    out = tmp_path / "search.json"
    out.write_text(text)
    with pytest.raises(ValueError, match=r"search\.json holds no search"):
        search(out)
    assert not small and out.read_text() == text
