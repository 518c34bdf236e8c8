"""The loop: repeats bit for bit, resumes, learns, and says what stops it."""

import numpy as np
import pytest
import tiny
import torch

from qsel.data import ImageSet, ZeroShot
from qsel.experiments import batches, network, rows, training
from qsel.experiments.config import ROW_SETTINGS
from qsel.experiments.frozen import Features
from qsel.experiments.network import embed, evaluate
from qsel.experiments.training import Trained, TrainingError
from qsel.hierarchy import Hierarchy, HierarchyError
from qsel.selection import select_quadruplets


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def data() -> ZeroShot:
    return tiny.zero_shot()


def train(data, config, **options) -> Trained:
    return training.train(data, config, tiny.CPU, **options)


def assert_same(a: Trained, b: Trained) -> None:
    """Weights, curve, embeddings and metrics, bit for bit."""
    ours, theirs = a.model.state_dict(), b.model.state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
    assert a.curve == b.curve
    assert torch.equal(embed(a.model, a.test), embed(b.model, b.test))


def weights(trained: Trained) -> torch.Tensor:
    return torch.cat([p.flatten() for p in trained.model.parameters()])


# --- repeats and resumes ---------------------------------------------------------

DEMANDING = [
    tiny.config(epochs=3, refresh=2, dropout=0.3, schedule="cosine"),
    tiny.config(epochs=3, method="method1", warmup=1, batch=7, weight_decay=0.01),
    tiny.frozen(epochs=3, refresh=2, dropout=0.3, whiten=0.5),
    tiny.frozen(epochs=3, method="semi_hard", dropout=0.3),
]


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("config", DEMANDING)
def test_a_run_repeats_and_resumes_bit_for_bit(data, config, tmp_path):
    undisturbed = train(data, config)
    torch.rand(17)  # whatever else the program draws
    assert_same(undisturbed, train(data, config))
    for last in (0, config.epochs - 2):
        checkpoint = tmp_path / str(last) / "checkpoint.pt"

        def interrupt(epoch, model, last=last):
            if epoch == last:
                raise Interrupted

        with pytest.raises(Interrupted):
            train(data, config, checkpoint=checkpoint, after_epoch=interrupt)
        seen = []

        def watch(epoch, model, seen=seen):
            seen.append(epoch)

        resumed = train(data, config, checkpoint=checkpoint, after_epoch=watch)
        assert seen == list(range(last + 1, config.epochs))
        assert_same(undisturbed, resumed)


def test_watching_a_run_does_not_change_it(data):
    def watch(epoch, model):
        model.eval()
        torch.rand(5)

    watched = train(data, DEMANDING[0], after_epoch=watch)
    usual = train(data, DEMANDING[0])
    assert_same(watched, usual)
    other = train(data, DEMANDING[0].with_settings({"seed": 1}))
    assert not torch.equal(weights(usual), weights(other))
    assert usual.curve != other.curve


@pytest.mark.parametrize("other", ["config", "data"])
def test_a_checkpoint_of_another_run_is_refused(data, other, tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    config = tiny.frozen(epochs=1)
    train(data, config, checkpoint=checkpoint)
    if other == "config":
        config = config.with_settings({"epochs": 2})
    else:
        data = tiny.zero_shot(seed=1)
    before = checkpoint.read_bytes()
    with pytest.raises(TrainingError, match=r"checkpoint\.pt .*remove it"):
        train(data, config, checkpoint=checkpoint)
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize("kind", ["cut", "other", "foreign network"])
def test_a_broken_checkpoint_is_named(data, kind, tmp_path):
    checkpoint, config = tmp_path / "checkpoint.pt", tiny.frozen(epochs=1)
    train(data, config, checkpoint=checkpoint)
    if kind == "cut":
        checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    elif kind == "foreign network":
        state = torch.load(checkpoint, weights_only=True)
        torch.save(state | {"model": {"weights": torch.zeros(2)}}, checkpoint)
    else:
        torch.save({"weights": torch.zeros(2)}, checkpoint)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt.*remove it"):
        train(data, config, checkpoint=checkpoint)


# --- what it learns --------------------------------------------------------------


@pytest.mark.parametrize("method", rows.ROWS)
def test_every_method_learns(data, method):
    # As each row is set up; embeddings of any length want a smaller step.
    own = {} if method not in ROW_SETTINGS else {"normalise": False}
    rate = 0.001 if own else 0.01
    config = tiny.config(epochs=6, augment=False, learning_rate=rate, **own)
    trained = train(data, config.with_settings({"method": method}))
    assert trained.curve[-1]["loss"] < trained.curve[0]["loss"]
    found = evaluate(embed(trained.model, trained.train), data.train.hierarchy.fine)
    assert found["R@1"] > 0.9  # chance is 1 / 6
    assert not trained.model.training


def test_warmup_draws_random_quadruplets(data):
    random = train(data, tiny.config(method="random"))
    warm = train(data, tiny.config(method="method2", warmup=2))
    assert torch.equal(weights(random), weights(warm))
    half = train(data, tiny.config(method="method2", warmup=1))
    assert half.curve[0] == random.curve[0]
    assert half.curve[1] != random.curve[1]


def test_curve_says_what_happened(data):
    config = tiny.config(epochs=3, schedule="cosine", batch=36)
    curve = train(data, config).curve
    assert [entry["epoch"] for entry in curve] == [1, 2, 3]
    for entry in curve:
        assert {"loss", "distance", "classification", "global", "zero"} <= set(entry)
        assert 0 <= entry["zero"] <= 1
        parts = entry["distance"] + entry["classification"]
        total = parts + config.global_weight / 36 * entry["global"]
        assert entry["loss"] == pytest.approx(total, rel=1e-4)
    # One step an epoch, so the rate is that of a cosine at 0, 1/3 and 2/3.
    expected = config.learning_rate * (1 + np.cos(np.pi * np.arange(3) / 3)) / 2
    rates = [entry["learning_rate"] for entry in curve]
    assert rates == pytest.approx(expected, rel=1e-5)
    constant = train(data, tiny.config(epochs=2, schedule="constant")).curve
    assert {entry["learning_rate"] for entry in constant} == {config.learning_rate}


def test_the_selection_sees_the_whole_training_set(data, monkeypatch):
    """How often, with which gallery, and which references: all of them, once."""
    calls = []

    def watched(gallery, fine, coarse, references, *rest, **switches):
        calls.append((gallery, references))
        return select_quadruplets(gallery, fine, coarse, references, *rest, **switches)

    monkeypatch.setattr(batches, "select_quadruplets", watched)
    train(data, tiny.frozen(epochs=1, batch=4, refresh=4))  # 9 steps: 4 + 4 + 1
    assert [len(references) for _, references in calls] == [16, 16, 4]
    seen = torch.cat([references for _, references in calls])
    assert sorted(seen.tolist()) == list(range(36))
    assert all(gallery.shape == (36, 8) for gallery, _ in calls)
    assert not torch.equal(calls[0][0], calls[1][0])
    calls.clear()
    train(data, tiny.frozen(epochs=2))
    assert [len(references) for _, references in calls] == [36, 36]


# --- the frozen trunk ------------------------------------------------------------


def test_a_frozen_trunk_is_not_trained_and_runs_once(data, monkeypatch):
    seen = []
    make = tiny.trunk

    def watched():
        trunk = make()
        trunk.register_forward_hook(lambda m, i, o: seen.append(len(i[0])))
        return trunk

    monkeypatch.setattr(tiny, "trunk", watched)
    first = train(data, tiny.frozen())
    assert sum(n for n in seen if n > 1) == 36 + 36  # both parts, once
    assert isinstance(first.train, Features)
    seen.clear()
    train(data, tiny.frozen(seed=1, method="random"))
    assert not [n for n in seen if n > 1]
    assert not any("conv" in name for name, _ in first.model.named_parameters())


def test_whitening_is_of_the_training_set(data):
    model, plain, _ = network.prepare(data, tiny.frozen(), tiny.CPU)
    assert torch.equal(plain.features, plain.raw)
    model, train_inputs, test_inputs = network.prepare(
        data, tiny.frozen(whiten=0.0), tiny.CPU
    )
    assert torch.equal(train_inputs.raw, plain.raw)  # what is cached is as it was
    assert torch.allclose(train_inputs.features.mean(0), torch.zeros(64), atol=1e-4)
    assert torch.allclose(train_inputs.features.std(0), torch.ones(64), atol=1e-2)
    moved = (test_inputs.raw - plain.raw.mean(0)) / plain.raw.std(0)
    assert torch.allclose(test_inputs.features, moved, atol=1e-3)


# --- embeddings and metrics ------------------------------------------------------


# --- what stops a run ------------------------------------------------------------


def test_a_loss_that_is_not_finite(data, tmp_path):
    config = tiny.frozen(trunk="tiny:huge", method="random", normalise=False)
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf)") as error:
        train(data, config, checkpoint=checkpoint)
    assert f"learning_rate (now {config.learning_rate})" in str(error.value)
    assert not checkpoint.exists()


def test_nothing_to_train_on():
    labels = Hierarchy.from_names(["a", "b", "c"], ["x", "x", "y"])
    pixels = tiny.pixels()[:3]
    alone = ImageSet.from_array("alone", pixels, labels)
    data = ZeroShot("alone", alone, tiny.image_set(6))
    with pytest.raises(HierarchyError, match="no sample can be a reference"):
        train(data, tiny.config())


# --- optimiser and schedule --------------------------------------------------------


def rates(data, monkeypatch, **settings):
    """(steps, groups) learning rates as the optimiser used them."""
    used = []
    step = torch.optim.AdamW.step

    def spy(optimiser, *args, **kwargs):
        used.append([group["lr"] for group in optimiser.param_groups])
        return step(optimiser, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    train(data, tiny.config(optimiser="adamw", learning_rate=0.01, **settings))
    return torch.tensor(used)


def test_a_one_cycle_schedule_rises_and_falls(data, monkeypatch):
    found = rates(data, monkeypatch, epochs=4, schedule="one-cycle", trunk_rate=0.1)
    assert len(found) == 4 * 3
    assert torch.allclose(found[:, 0], 0.1 * found[:, 1])  # the trunk's, the head's
    head = found[:, 1]
    assert torch.allclose(head[:4], 0.01 * torch.tensor([0, 1 / 3, 2 / 3, 1]))
    falling = 0.01 * 0.5 * (1 + (torch.arange(9) / 9 * torch.pi).cos())
    assert torch.allclose(head[3:], falling, atol=1e-8)


def test_the_last_epoch_ends_a_run_of_the_same_schedule(data):
    config = tiny.config(epochs=3, schedule="cosine", dropout=0.1)
    whole = train(data, config)
    short = train(data, config.with_settings({"last_epoch": 2}))
    assert short.curve == whole.curve[:2]
    kept = []

    def keep(epoch, model):
        kept.append(model.state_dict()["head.embedding.weight"].clone())

    train(data, config, after_epoch=keep)
    assert torch.equal(short.model.head.embedding.weight, kept[1])
