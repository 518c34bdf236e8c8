"""Settings: kinds, ranges, presets, reading from text."""

import json
from pathlib import Path

import pytest

from qsel import losses
from qsel.experiments import config
from qsel.experiments.config import PAPER, PRESETS, Config, preset

PAPER_TEXT = Path(__file__).parents[3] / "shared" / "paper.txt"


def test_paper_values():
    paper = preset("paper")
    assert paper == Config()
    assert (paper.margin1, paper.margin2) == (0.7, 0.3)
    assert (paper.coarse_weight, paper.fine_weight) == (0.08, 0.25)
    assert paper.global_weight == 1
    assert (paper.learning_rate, paper.momentum) == (0.0003, 0.9)
    assert (paper.trunk, paper.weights) == ("resnet101", "imagenet")
    assert paper.embedding_dim == 1024
    assert paper.margin1 == losses.MARGIN1 and paper.margin2 == losses.MARGIN2


def test_paper_values_stand_in_the_paper():
    if not PAPER_TEXT.is_file():
        pytest.skip("the paper's text is not beside the checkout")
    text = PAPER_TEXT.read_text()
    for name in sorted(PAPER - {"first_margin", "weights", "trunk", "global_weight"}):
        assert str(getattr(Config(), name)) in text, name


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_for_every_method(name):
    for method in config.CHOICES["method"]:
        settings = preset(name, method)
        assert settings.method == method
        assert Config(**json.loads(json.dumps(settings.to_dict()))) == settings


def test_tuned_settings_reach_one_method_only(monkeypatch):
    """Also where the preset has a value of its own."""
    assert "learning_rate" in PRESETS["smoke"]
    tuned = {"dropout": 0.5, "learning_rate": 0.25}
    monkeypatch.setitem(config.TUNED, ("smoke", "random"), tuned)
    random, method1 = preset("smoke", "random"), preset("smoke", "method1")
    assert (random.dropout, random.learning_rate) == (0.5, 0.25)
    assert method1.learning_rate == PRESETS["smoke"]["learning_rate"]


def test_unknown_preset_and_method():
    with pytest.raises(ValueError, match="no preset 'huge'; expected one of paper"):
        preset("huge")
    with pytest.raises(ValueError, match="method='method3'; expected one of semi_hard"):
        preset("smoke", "method3")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seed", "3", 3),
        ("refresh", "none", None),
        ("learning_rate", "1e-3", 0.001),
        ("learning_rate", "1", 1.0),
        ("freeze", "trunk", "trunk"),
        ("normalise", "False", False),
        ("weights", "some/file.pt", "some/file.pt"),
        ("whiten", "None", None),
    ],
)
def test_text_is_read_as_the_fields_kind(name, text, value):
    base = Config(freeze="trunk") if name == "whiten" else Config()
    read = getattr(base.with_settings({name: text}), name)
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"sede": "1"}, "unknown setting 'sede'; expected one of method, seed"),
        ({"seed": "one"}, "seed='one'; expected a whole number"),
        ({"seed": 1.0}, "seed=1.0; expected a whole number"),
        ({"seed": True}, "seed=True; expected a whole number"),
        ({"seed": -1}, "seed=-1; expected from 0"),
        ({"refresh": "0"}, "refresh=0; expected from 1"),
        ({"refresh": "often"}, "refresh='often'; expected a whole number or none"),
        ({"dropout": 1.0}, "dropout=1.0; expected from 0 to 0.99"),
        ({"learning_rate": "nan"}, "learning_rate=nan; expected from 0"),
        ({"margin1": "inf"}, "margin1=inf; expected from 0"),
        ({"learning_rate": ""}, "learning_rate=''; expected a number"),
        ({"learning_rate": None}, "learning_rate=None; expected a number"),
        ({"freeze": "yes"}, "freeze='yes'; expected none, trunk, or until:NAME"),
        ({"schedule": "step"}, "schedule='step'; expected one of constant, cosine"),
        ({"reduction": "max"}, "reduction='max'; expected one of mean, sum"),
        ({"whiten": 0.0}, "on frozen features; set freeze=trunk"),
    ],
)
def test_wrong_settings_are_named(settings, says):
    with pytest.raises(ValueError) as error:
        Config().with_settings(settings)
    assert says in str(error.value)


def test_all_that_is_wrong_is_named_at_once():
    wrong = {"bacth": 3, "batch": 0, "dropout": "much", "schedule": "x", "epochs": "3"}
    with pytest.raises(ValueError) as error:
        Config().with_settings(wrong)
    for name in ("'bacth'", "batch=0", "dropout='much'", "schedule='x'"):
        assert name in str(error.value)
    assert "epochs=" not in str(error.value)
