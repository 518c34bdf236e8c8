import urllib.error

import pytest
import tiny
import torch
import torchvision
from torch import nn

from qsel.experiments.config import Config
from qsel.experiments.inputs import Images
from qsel.experiments.trunks import (
    ModelError,
    build_trunk,
    preprocessing,
    split_trunk,
)


def trunk_of(name, weights=None, image_size=32):
    return build_trunk(Config(trunk=name, weights=weights, image_size=image_size))


@pytest.mark.parametrize(
    ("name", "weights", "says"),
    [
        ("resnet19", None, "trunk='resnet19'; expected 'small'"),
        ("squeezenet1_1", None, "squeezenet1_1 ends in no fully connected"),
        ("small", "imagenet", "set weights=none"),
        ("small", "absent.pt", r"no weights at absent\.pt; expected"),
        ("no_such_module:make", None, r"expected 'package\.module:function'"),
        ("tiny:absent", None, r"expected 'package\.module:function'"),
        ("tiny:pixels_of", None, "without arguments"),
        ("tiny:SIZE", None, "could not be made"),
        ("builtins:dict", None, "trunk='builtins:dict' cannot take images"),
        ("tiny:picky", None, "image_size=32 .Wrong image height!"),
        ("tiny:convolution", None, "cannot take images of image_size=32"),
    ],
)
def test_what_is_no_trunk_is_named(name, weights, says, monkeypatch):
    class Picky(nn.Module):
        def forward(self, images):
            raise AssertionError("Wrong image height!")

    monkeypatch.setattr(tiny, "picky", Picky, raising=False)
    monkeypatch.setattr(tiny, "pixels_of", lambda n: None, raising=False)
    layer = nn.Conv2d(3, 8, 3)
    monkeypatch.setattr(tiny, "convolution", lambda: layer, raising=False)
    with pytest.raises(ModelError, match=says):
        trunk_of(name, weights, image_size=64 if "squeeze" in name else 32)


@pytest.mark.parametrize("name", ["small", "tiny:trunk", "resnet18"])
def test_weights_from_a_file(tmp_path, name):
    path = tmp_path / "weights.pt"
    source = torchvision.models.resnet18() if "res" in name else trunk_of(name)[0]
    with torch.no_grad():
        next(source.parameters()).fill_(0.125)
    torch.save(source.state_dict(), path)
    loaded, _ = trunk_of(name, str(path))
    assert (next(loaded.parameters()) == 0.125).all()


@pytest.mark.parametrize("damage", ["other", "text", "cut", "list"])
def test_weights_that_do_not_fit(damage, tmp_path):
    path = tmp_path / "other.pt"
    torch.save([1, 2] if damage == "list" else tiny.trunk().state_dict(), path)
    if damage in ("text", "cut"):
        path.write_bytes(path.read_bytes()[:700] if damage == "cut" else b"no weights")
    with pytest.raises(ModelError, match=r"other\.pt could not be loaded") as error:
        trunk_of("small", str(path))
    assert "\n" not in str(error.value)


def test_no_network(monkeypatch):
    def refuse(*arguments, **options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(ModelError) as error:
        trunk_of("resnet18", "imagenet")
    assert "ImageNet weights of resnet18 could not be downloaded" in str(error.value)
    assert "no route to host" in str(error.value)
    assert "set weights to the file" in str(error.value)


def test_images_are_prepared_as_torchvision_publishes_it(name="efficientnet_b0"):
    weights = next(iter(torchvision.models.get_model_weights(name)))
    published = weights.transforms()
    config = tiny.config(resize=20, image_size=18)
    published.resize_size, published.crop_size = [20], [18]
    cars = tiny.image_set()
    inputs = Images(cars, config, tiny.CPU, expected=preprocessing(name))
    found = torch.cat(list(inputs.everything()))
    expected = torch.stack([published(cars[i]) for i in range(len(cars))])
    # torchvision rounds to whole grey levels image by image, here a whole batch is.
    assert (found - expected).abs().mean() < 0.5 / 255 / 0.224


def test_a_function_says_what_its_trunk_expects():
    lite = nn.Flatten()
    lite.mean, lite.std, lite.interpolation = (0.5,) * 3, [0.25] * 3, "bicubic"
    expected = preprocessing("package.module:function", lite)
    inputs = Images(tiny.image_set(), tiny.config(), tiny.CPU, expected=expected)
    (batch,) = inputs.everything()
    pixels = tiny.image_set().pixels / 255
    assert torch.allclose(batch, (pixels - 0.5) / 0.25, atol=1e-5)
    assert expected.interpolation.value == "bicubic"
    plain = preprocessing("package.module:function", nn.Flatten())
    assert plain == preprocessing("small") == preprocessing("resnet18")


@pytest.mark.filterwarnings("ignore:The default weight initialization")
@pytest.mark.parametrize(
    ("name", "cut", "size"),
    [
        ("small", "7", 32),
        ("resnet18", "layer4", 32),
        ("mobilenet_v3_small", "features.9", 32),
    ],
)
def test_both_parts_together_are_the_trunk(name, cut, size):
    trunk, _ = trunk_of(name, image_size=size)
    lower, upper = split_trunk(trunk, cut)
    images = torch.randn(2, 3, size, size)
    assert torch.equal(upper(lower(images)), trunk.eval()(images))
    weights = dict(trunk.named_parameters())
    both = [dict(part.named_parameters()) for part in (lower, upper)]
    assert both[0].keys().isdisjoint(both[1]) and both[1]
    assert all(weights[n] is p for part in both for n, p in part.items())


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        ("layer5", "no module of that name; its modules are conv1, bn1"),
        ("conv1", "not one tensor alone is handed over there, or none is made before"),
        ("layer3.0.conv2", "not one tensor alone is handed over"),  # beside the skip
    ],
)
def test_a_trunk_that_cannot_be_cut_there(cut, reason):
    with pytest.raises(ModelError, match=f"freeze=until:{cut}: .*{reason}"):
        split_trunk(trunk_of("resnet18")[0], cut)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = tiny.trunk()

    def forward(self, images):
        return self.inner(images) if images.mean() > 0 else self.inner(-images)


def test_a_trunk_that_cannot_be_traced():
    with pytest.raises(ModelError, match="cannot be traced .*set freeze to none or tr"):
        split_trunk(Branching(), "inner.1")
