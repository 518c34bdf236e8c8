"""The loop: repeats bit for bit, resumes, learns, and says what stops it."""

import pytest
import tiny
import torch

from qsel.data import ZeroShot
from qsel.experiments import batches, network, rows, training
from qsel.experiments.config import ROW_SETTINGS
from qsel.experiments.network import embed, evaluate
from qsel.experiments.training import Trained, TrainingError
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
    other = train(data, config.with_settings({"seed": 1}))
    assert not torch.equal(weights(undisturbed), weights(other))
    for last in (0, config.epochs - 2):
        checkpoint = tmp_path / str(last) / "checkpoint.pt"

        def interrupt(epoch, model, last=last):
            model.eval()
            torch.rand(5)  # watching a run does not change it
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


def test_a_checkpoint_of_another_run_or_a_broken_one_is_named_and_kept(data, tmp_path):
    checkpoint, config = tmp_path / "checkpoint.pt", tiny.frozen(epochs=1)
    train(data, config, checkpoint=checkpoint)
    foreign = torch.load(checkpoint, weights_only=True) | {"model": {}}
    for other_data, settings, content in (
        (data, {"epochs": 2}, None),
        (tiny.zero_shot(seed=1), {}, None),
        (data, {}, foreign),
        (data, {}, {"weights": torch.zeros(2)}),
        (data, {}, b"cut"),
    ):
        if content == b"cut":
            checkpoint.write_bytes(checkpoint.read_bytes()[:500])
        elif content:
            torch.save(content, checkpoint)
        before = checkpoint.read_bytes()
        with pytest.raises(TrainingError, match=r"checkpoint\.pt.*remove it"):
            wanted = config.with_settings(settings)
            train(other_data, wanted, checkpoint=checkpoint)
        assert checkpoint.read_bytes() == before


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


def test_a_loss_that_is_not_finite(data, tmp_path):
    config = tiny.frozen(trunk="tiny:huge", method="random", normalise=False)
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf)") as error:
        train(data, config, checkpoint=checkpoint)
    assert f"learning_rate (now {config.learning_rate})" in str(error.value)
    assert not checkpoint.exists()


def test_a_one_cycle_schedule_rises_and_falls(data, monkeypatch):
    used, step = [], torch.optim.AdamW.step

    def spy(optimiser, *args, **kwargs):
        used.append([group["lr"] for group in optimiser.param_groups])
        return step(optimiser, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    own = dict(optimiser="adamw", learning_rate=0.01, trunk_rate=0.1)
    train(data, tiny.config(epochs=4, schedule="one-cycle", **own))
    trunk, head = torch.tensor(used).T
    assert len(head) == 4 * 3 and torch.allclose(trunk, 0.1 * head)
    assert torch.allclose(head[:4], 0.01 * torch.tensor([0, 1 / 3, 2 / 3, 1]))
    falling = 0.01 * 0.5 * (1 + (torch.arange(9) / 9 * torch.pi).cos())
    assert torch.allclose(head[3:], falling, atol=1e-8)
    constant = train(data, tiny.config(schedule="constant")).curve
    assert {entry["learning_rate"] for entry in constant} == {0.01}


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
