"""The small trunk's pre-trained weights and their cache."""

import pytest
import tiny
import torch

from qsel.experiments import pretraining
from qsel.experiments.pretraining import small_trunk_weights
from qsel.experiments.trunks import small_trunk


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Fewer steps and images than it takes to learn anything."""
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pretraining, "STEPS", 8)
    data = tiny.zero_shot()
    monkeypatch.setattr(pretraining, "synthcars", lambda **_: data)
    return tmp_path / "cache"


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) for name, value in one.items()
    )


def test_weights_are_trained_once_and_fit_the_small_trunk(monkeypatch):
    made = small_trunk_weights()
    assert small_trunk().load_state_dict(made)
    monkeypatch.setattr(pretraining, "_classifier", None)
    assert same(small_trunk_weights(), made)


@pytest.mark.parametrize("damage", ["cut", "list", "other"])
def test_damaged_weights_are_trained_again(damage, cache):
    good = small_trunk_weights()
    (path,) = cache.rglob("small-*.pt")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        other = good | {"0.weight": good["0.weight"][:1]}
        torch.save([1, 2] if damage == "list" else other, path)
    with pytest.warns(UserWarning, match=f"{path.name} cannot be used") as told:
        assert same(small_trunk_weights(), good)
    assert len(told) == 1 and "\n" not in str(told[0].message)
    assert same(small_trunk_weights(), good)
