"""What a frozen trunk, or the frozen part of one, says of images: computed once."""

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from qsel.data import ZeroShot
from qsel.experiments.frozen import cached_activations, frozen_features
from qsel.experiments.inputs import Images
from qsel.experiments.network import prepare, trunk_features
from qsel.experiments.training import train
from qsel.experiments.trunks import IMAGENET, ModelError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Counting(nn.Module):
    """A trunk that counts the images it has seen."""

    def __init__(self, seed: int = 0):
        super().__init__()
        self.inner, self.seen = tiny.trunk(seed), 0

    def forward(self, images):
        self.seen += len(images)
        return self.inner(images)


def test_frozen_features_are_the_trunks():
    cars, trunk = tiny.image_set(), tiny.trunk()
    found = frozen_features(trunk, cars, tiny.frozen(), tiny.CPU)
    plain = torch.cat(list(Images(cars, tiny.frozen(), tiny.CPU).everything()))
    assert found.shape == (36, 64) and not found.requires_grad
    with torch.no_grad():
        assert torch.allclose(found, trunk.eval()(plain), atol=1e-5)


def test_the_trunk_runs_once():
    cars, config, trunk = tiny.image_set(), tiny.frozen(), Counting()
    first = frozen_features(trunk, cars, config, tiny.CPU)
    again = frozen_features(trunk, cars, config, tiny.CPU)
    head = tiny.frozen(seed=3, dropout=0.5, learning_rate=0.5, embedding_dim=3)
    other = frozen_features(Counting(), cars, head, tiny.CPU)
    assert trunk.seen == 36
    assert torch.equal(first, again) and torch.equal(first, other)


@pytest.mark.parametrize("changed", ["weights", "images", "size"])
def test_another_cache_entry(changed):
    cars, config = tiny.image_set(), tiny.frozen()
    frozen_features(Counting(), cars, config, tiny.CPU)
    trunk = Counting(seed=1 if changed == "weights" else 0)
    if changed == "images":
        cars = tiny.image_set(seed=1)
    if changed == "size":
        config = config.with_settings({"resize": 20})
    frozen_features(trunk, cars, config, tiny.CPU)
    assert trunk.seen == 36


@pytest.mark.parametrize("damage", ["cut", "fewer"])
def test_damaged_features_are_computed_again(damage, cache):
    def features():
        return frozen_features(
            *(tiny.trunk(), tiny.image_set(), tiny.frozen(), tiny.CPU)
        )

    good = features()
    (path,) = (cache / "features").iterdir()
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:500])
    else:
        torch.save(good[1:], path)
    with pytest.warns(UserWarning, match=f"{path.name} cannot be used") as told:
        assert torch.equal(features(), good)
    assert len(told) == 1 and "\n" not in str(told[0].message)
    assert torch.equal(features(), good)


def part_trained(**settings):
    """The small trunk from its second block on; "7" is the convolution there."""
    fixed = dict(trunk="small", freeze="until:7", batch_norm="fixed", epochs=1)
    return tiny.config(**fixed, views=3, **settings)


def test_activations_are_those_of_the_whole_trunk():
    data = tiny.zero_shot()
    whole, _, images = prepare(data, tiny.config(trunk="small"), tiny.CPU)
    model, _, inputs = prepare(data, part_trained(), tiny.CPU)
    expected, found = trunk_features(whole, images), trunk_features(model, inputs)
    assert torch.allclose(found, expected, atol=2e-3)  # half precision
    assert not torch.equal(found, expected)
    head = model.head.state_dict()
    assert all(torch.equal(v, head[k]) for k, v in whole.head.state_dict().items())


def test_each_view_is_a_crop_of_its_own_and_drawn_evenly():
    _, inputs, test = prepare(tiny.zero_shot(), part_trained(), tiny.CPU)
    assert len(inputs.views) == 3 and len(inputs) == 36
    views = [inputs.plain, *inputs.views]
    assert len({view.tobytes() for view in views}) == 4
    torch.manual_seed(0)
    (batch,) = inputs.stream([torch.full((300,), 5)])
    drawn = [(batch == torch.tensor(v[5]).float()).flatten(1).all(1) for v in views]
    counts = torch.stack(drawn).sum(1).tolist()
    assert counts[0] == 0 and sum(counts) == 300 and min(counts[1:]) > 70
    (plain,) = test.stream([torch.tensor([2, 0])])
    assert torch.equal(plain, torch.tensor(test.plain[[2, 0]]).float())


def test_activations_are_computed_once_and_not_for_a_part(cache):
    data = tiny.zero_shot()
    _, whole, _ = prepare(data, part_trained(), tiny.CPU)
    files = {path: path.stat().st_mtime_ns for path in cache.rglob("*.npy")}
    assert len(files) == 3 + 1 + 1
    chosen = torch.tensor([30, 31, 7])
    part = data.train.subset(chosen)
    part.part_of = (data.train, chosen)
    _, inputs, _ = prepare(ZeroShot("part", part, data.test), part_trained(), tiny.CPU)
    (found,) = inputs.everything()
    assert torch.equal(found, torch.tensor(whole.plain[chosen.numpy()]).float())
    assert files == {path: path.stat().st_mtime_ns for path in cache.rglob("*.npy")}


def test_damaged_activations_are_computed_again(cache):
    _, first, _ = prepare(tiny.zero_shot(), part_trained(), tiny.CPU)
    before = [np.array(view) for view in first.views]
    for path in cache.rglob("*.npy"):
        path.write_bytes(b"not an array")
    with pytest.warns(UserWarning, match="cannot be used"):
        _, again, _ = prepare(tiny.zero_shot(), part_trained(), tiny.CPU)
    assert all(map(np.array_equal, before, again.views))


def test_activations_too_large_for_half_precision():
    with pytest.raises(ModelError, match="too large for half precision"):
        cached_activations(
            *(tiny.huge(), tiny.image_set(), part_trained(), tiny.CPU, 0, IMAGENET, 0)
        )


def test_only_the_upper_part_trains_and_statistics_stay():
    data, config = tiny.zero_shot(), part_trained(dropout=0.1, precision="bfloat16")
    start, _, _ = prepare(data, config, tiny.CPU)
    trained = train(data, config, tiny.CPU)
    before, after = start.state_dict(), trained.model.state_dict()
    assert not any(name.startswith("trunk.0") for name in after)
    for name, value in after.items():
        fixed = "running" in name or "num_batches" in name or name.startswith("head.sh")
        assert torch.equal(value, before[name]) == (fixed or not len(value)), name


def test_the_share_of_a_process_is_a_part_of_every_batch():
    from types import SimpleNamespace

    _, inputs, _ = prepare(tiny.zero_shot(), part_trained(), tiny.CPU)
    batch = torch.arange(8)

    def stream(share):
        torch.manual_seed(1)
        return next(iter(inputs.stream([batch], SimpleNamespace(share=share))))

    halves = torch.cat([stream(slice(0, 4)), stream(slice(4, 8))])
    assert torch.equal(halves, stream(slice(None)))
