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


def damaged(weights: dict, damage: str) -> object:
    name = "0.weight"
    return {
        "tensor": torch.zeros(3),
        "list": [1, 2],
        "keys": {"other": torch.zeros(3)},
        "one less": {n: w for n, w in weights.items() if n != name},
        "shape": weights | {name: weights[name][:1]},
        "type": weights | {name: weights[name].double()},
        "number": weights | {name: 3},
        "nan": weights | {name: weights[name] * torch.nan},
    }[damage]


@pytest.mark.parametrize(
    "damage",
    ["empty", "cut", "text"]
    + ["tensor", "list", "keys", "one less", "shape", "type", "number", "nan"],
)
def test_damaged_weights_are_trained_again(damage, cache):
    good = small_trunk_weights()
    (path,) = cache.rglob("small-*.pt")
    content = path.read_bytes()
    if damage in ("empty", "cut", "text"):
        cut = content[: len(content) // 2]
        path.write_bytes({"empty": b"", "cut": cut, "text": b"no weights"}[damage])
    else:
        torch.save(damaged(good, damage), path)
    with pytest.warns(UserWarning, match=f"{path.name} cannot be used") as told:
        assert same(small_trunk_weights(), good)
    assert len(told) == 1 and "\n" not in str(told[0].message)
    assert same(small_trunk_weights(), good)


def test_weights_without_a_cache_folder(tmp_path, monkeypatch):
    good = small_trunk_weights()
    (tmp_path / "file").touch()
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="QSEL_CACHE"):
        assert same(small_trunk_weights(), good)
