"""The search for settings: one budget, held-out classes, nothing twice."""

import json

import numpy as np
import pytest
import tiny

from qsel.data import ImageSet, ZeroShot
from qsel.data.files import locked
from qsel.experiments import tuning
from qsel.experiments.config import preset
from qsel.experiments.rows import QUADRUPLETS, ROWS
from qsel.experiments.tuning import SPACES, score, space, trials, tune, winners
from qsel.hierarchy import Hierarchy


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("method", ROWS)
def test_trials_are_settings_of_the_preset_and_differ(name, method):
    drawn = trials(name, 8, method)
    assert len({json.dumps(t, sort_keys=True) for t in drawn}) == 8
    assert drawn[:3] == trials(name, 3, method)  # a larger budget adds to a smaller
    for trial in drawn:
        preset(name, method).with_settings(trial)
        assert all(value in space(name, method)[key] for key, value in trial.items())


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("method", ROWS)
def test_a_trial_differs_in_what_the_row_reads(name, method):
    keys = set().union(*trials(name, 8, method))
    assert keys == set(space(name, method)) - set(tuning.UNREAD.get(method, ()))
    for unread in tuning.UNREAD.get(method, ()):  # and truly does not read
        data = tiny.zero_shot()
        base = tiny.config(method=method, epochs=1)
        one, two = (
            tuning.train(data, base.with_settings({unread: value})).curve
            for value in (2, 3)
        )
        assert one == two


def test_no_warmup_lasts_all_the_passes():
    """What would be left is the row Random."""
    for method in QUADRUPLETS:
        drawn = trials("laptop", 24 if method == "random" else 36, method)  # all of it
        assert all(t["epochs"] > t.get("warmup", 0) for t in drawn)
        assert {t["epochs"] for t in drawn} == {1, 2}
        with pytest.raises(ValueError, match=f"has {len(drawn)} points"):
            trials("laptop", len(drawn) + 1, method)
    few = [t | {"warmup": None} for t in trials("laptop", 4, "random")]
    assert few == [t | {"warmup": None} for t in trials("laptop", 4, "method2")]


def test_bad_budgets_and_presets():
    with pytest.raises(ValueError, match="preset 'paper' has no search space"):
        trials("paper", 1)
    with pytest.raises(ValueError, match="no row 'start' to tune"):
        tune(tiny.zero_shot(), "smoke", None, ["start"])
    for count in (0, 10_000):
        with pytest.raises(ValueError, match=f"{count} trials .* has .* points"):
            trials("laptop", count)


def run(method, trial, split, score, **settings):
    settings = settings or {"dropout": trial / 10}
    return dict(method=method, trial=trial, split=split, score=score, settings=settings)


def test_winners_have_the_best_mean_of_the_trials_that_are_whole():
    runs = [run("random", 0, 0, 0.5), run("random", 0, 1, 0.5)]
    runs += [run("random", 1, 0, 0.9), run("random", 1, 1, 0.2)]
    runs += [run("random", 2, 0, 0.99)]  # interrupted: half a trial does not win
    runs += [run("method1", 0, 0, 0.1)]
    assert winners(runs) == {"random": {"dropout": 0.1}, "method1": {"dropout": 0.0}}
    assert winners([]) == {}


@pytest.fixture
def small(monkeypatch):
    """A search space that the tiny trunk takes, and a count of what is trained."""
    monkeypatch.setitem(SPACES, "smoke", {"learning_rate": (0.01, 0.02, 0.05)})
    trained, real = [], tuning.train

    def counted(data, config):
        trained.append((data, config))
        return real(data, config)

    monkeypatch.setattr(tuning, "train", counted)
    return trained


SETTINGS = tiny.SETTINGS | {"epochs": "1"}


def twelve_classes() -> ZeroShot:
    """Enough training classes to hold a quarter of them out."""
    array = np.concatenate([tiny.pixels(0), tiny.pixels(6)])
    fine = [i // 6 for i in range(len(array))]
    labels = Hierarchy.from_names([f"f{f}" for f in fine], [f"c{f % 3}" for f in fine])
    train = ImageSet.from_array("twelve", array, labels)
    return ZeroShot("twelve", train, tiny.image_set(12))


def test_the_search_sees_training_classes_only_and_repeats_nothing(tmp_path, small):
    data, out = twelve_classes(), tmp_path / "search.json"
    rows = ["random", "semi_hard"]
    found = tune(data, "smoke", out, rows, count=2, splits=2, settings=SETTINGS)
    assert len(small) == 2 * 2 * 2
    own = set(data.train.hierarchy.fine_names)
    for split, _ in small:
        seen = {*split.train.hierarchy.fine_names, *split.test.hierarchy.fine_names}
        assert seen <= own
        assert not {*split.train.hierarchy.fine_names} & {
            *split.test.hierarchy.fine_names
        }
    held = json.loads(out.read_text())
    assert held["chosen"] == found == winners(held["runs"])
    for entry in held["runs"]:
        assert entry["score"] == score(entry["metrics"])
    tune(data, "smoke", out, rows, count=2, splits=2, settings=SETTINGS)
    assert len(small) == 8
    tune(data, "smoke", out, rows, count=3, splits=2, settings=SETTINGS)
    assert len(small) == 12
    with pytest.raises(ValueError, match="other shared settings"):
        tune(data, "smoke", out, rows, count=1, splits=1, settings={})


def test_settings_that_do_not_train_lose_and_are_told(tmp_path, small, monkeypatch):
    def fail(data, config):
        if config.learning_rate > 0.01:
            raise tuning.TrainingError("the loss became inf")
        return real(data, config)

    real = tuning.train
    monkeypatch.setattr(tuning, "train", fail)
    out = tmp_path / "search.json"
    found = tune(twelve_classes(), "smoke", out, ["random"], 3, 1, SETTINGS)
    assert found["random"]["learning_rate"] == 0.01
    failed = [r for r in json.loads(out.read_text())["runs"] if "failed" in r]
    assert len(failed) == 2 and failed[0]["failed"] == "the loss became inf"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "3"])
def test_a_file_that_is_no_search_is_named_and_kept(tmp_path, small, text):
    out = tmp_path / "search.json"
    out.write_text(text)
    with pytest.raises(ValueError, match=r"search\.json holds no search"):
        tune(twelve_classes(), "smoke", out, ["random"], 1, 1, SETTINGS)
    assert not small and out.read_text() == text


def test_two_searches_do_not_share_a_file(tmp_path, small):
    out = tmp_path / "search.json"
    with (
        locked(tmp_path / "search.json.lock"),
        pytest.raises(ValueError, match="another program"),
    ):
        tune(twelve_classes(), "smoke", out, ["random"], 1, 1, SETTINGS)
    assert not small


def test_a_place_for_no_file_is_said_first(tmp_path, small):
    (tmp_path / "taken").write_text("")
    for out in (tmp_path, tmp_path / "taken" / "search.json"):
        with pytest.raises(ValueError, match="--out"):
            tune(twelve_classes(), "smoke", out, ["random"], 1, 1, SETTINGS)
    assert not small


def test_held_out_classes_with_too_few_images_are_told_first(tmp_path, small):
    data = twelve_classes()
    few = data.train.subset([i for i in range(72) if i % 6 < 2])
    with pytest.raises(ValueError, match="6 images; R@8 needs 9"):
        tune(ZeroShot("few", few, data.test), "smoke", tmp_path / "a", ["random"], 1)
    assert not small
