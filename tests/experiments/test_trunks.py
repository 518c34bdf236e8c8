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
from qsel.model import EmbeddingModel, Head


def write_module(folder, monkeypatch, name, text):
    (folder / f"{name}.py").write_text("import torch\nfrom torch import nn\n" + text)
    monkeypatch.syspath_prepend(folder)


def trunk_of(name, weights=None, image_size=32):
    return build_trunk(Config(trunk=name, weights=weights, image_size=image_size))


def test_one_set_of_weights_for_all_images():
    torch.manual_seed(0)
    trunk, width = trunk_of("small")
    model = EmbeddingModel(trunk, Head(width, 2, 3, embedding_dim=4))
    images = torch.randn(4, 3, 16, 16)
    one_by_one = torch.cat([model.eval()(image[None])[0] for image in images])
    assert torch.allclose(model(images)[0], one_by_one, atol=1e-5)


# --- trunks ----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The default weight initialization")
@pytest.mark.parametrize(
    ("name", "features"),
    [("small", None), ("resnet18", 512), ("mobilenet_v3_small", 1024)],
)
def test_known_trunks(name, features):
    trunk, width = trunk_of(name)
    assert width == (features or width)
    assert trunk.train()(torch.zeros(2, 3, 32, 32)).shape == (2, width)


@pytest.mark.filterwarnings("ignore")
def test_googlenet_gives_one_tensor_in_training_too(monkeypatch):
    # Its own initialisation draws for seconds.
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda tensor, **_: tensor)
    trunk, width = trunk_of("googlenet", image_size=64)
    assert width == 1024
    assert trunk.train()(torch.randn(2, 3, 64, 64)).shape == (2, 1024)


def test_unknown_trunk():
    with pytest.raises(ModelError, match="trunk='resnet19'; expected 'small'"):
        trunk_of("resnet19")


def test_trunk_without_a_fully_connected_layer():
    with pytest.raises(ModelError, match="squeezenet1_1 ends in no fully connected"):
        trunk_of("squeezenet1_1", image_size=64)


@pytest.mark.parametrize("error", ["AssertionError", "RuntimeError", "ValueError"])
def test_images_that_do_not_suit_the_trunk(tmp_path, monkeypatch, error):
    """As ViT, which takes 224 px only, or Inception, which needs more than 32."""
    name = f"picky_{error}"
    text = f"""class Picky(nn.Module):
    def forward(self, images):
        raise {error}("Wrong image height!")
"""
    write_module(tmp_path, monkeypatch, name, text)
    with pytest.raises(ModelError, match="image_size=32") as caught:
        trunk_of(f"{name}:Picky")
    assert "Wrong image height!" in str(caught.value)


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


def test_small_trunk_has_no_imagenet_weights():
    with pytest.raises(ModelError, match="set weights=none"):
        trunk_of("small", "imagenet")


@pytest.mark.parametrize("name", ["small", "tiny:trunk", "resnet18"])
def test_weights_from_a_file(tmp_path, name):
    path = tmp_path / "weights.pt"
    if name == "resnet18":
        import torchvision

        source = torchvision.models.resnet18()
    else:
        source, _ = trunk_of(name)
    first = next(source.parameters())
    with torch.no_grad():
        first.fill_(0.125)
    torch.save(source.state_dict(), path)
    loaded, _ = trunk_of(name, str(path))
    assert (next(loaded.parameters()) == 0.125).all()


def test_weights_that_do_not_fit(tmp_path):
    with pytest.raises(ModelError, match=r"no weights at .*absent\.pt; expected"):
        trunk_of("small", str(tmp_path / "absent.pt"))
    with pytest.raises(ModelError, match="no weights at"):
        trunk_of("small", str(tmp_path))
    other, text = tmp_path / "other.pt", tmp_path / "text.pt"
    torch.save(tiny.trunk().state_dict(), other)
    text.write_text("not weights")
    empty, cut, foreign = (tmp_path / f"{name}.pt" for name in ("empty", "cut", "list"))
    empty.touch()
    cut.write_bytes(other.read_bytes()[:700])
    torch.save([1, 2], foreign)
    for path in (other, text, empty, cut, foreign):
        with pytest.raises(ModelError, match="could not be loaded") as error:
            trunk_of("small", str(path))
        assert "\n" not in str(error.value) and path.name in str(error.value)


def test_trunk_by_name_of_a_function(tmp_path, monkeypatch):
    write_module(
        tmp_path,
        monkeypatch,
        "own_trunk",
        "def make():\n    return nn.Sequential(nn.Flatten(), nn.LazyLinear(7))\n",
    )
    assert trunk_of("own_trunk:make")[1] == 7


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return 3", "returned a int; expected a torch module"),
        ("return nn.Conv2d(3, 8, 3)", "turns one image into"),
    ],
)
def test_function_that_makes_no_trunk(tmp_path, monkeypatch, body, says):
    name = f"bad_trunk_{abs(hash(body))}"
    write_module(tmp_path, monkeypatch, name, f"def make():\n    {body}\n")
    with pytest.raises(ModelError, match=says):
        trunk_of(f"{name}:make")


@pytest.mark.parametrize("name", ["no_such_module:make", "tiny:absent", ":make", "a:"])
def test_function_that_is_not_there(name):
    with pytest.raises(ModelError, match=r"expected 'package\.module:function'"):
        trunk_of(name)


def test_function_that_wants_arguments(tmp_path, monkeypatch):
    write_module(tmp_path, monkeypatch, "greedy", "def make(n):\n    return None\n")
    with pytest.raises(ModelError, match="without arguments"):
        trunk_of("greedy:make")


# --- what a trunk expects of an image ----------------------------------------------


@pytest.mark.parametrize("name", ["resnet101", "efficientnet_b0", "inception_v3"])
def test_images_are_prepared_as_torchvision_publishes_it(name):
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


# --- a trunk cut in two --------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The default weight initialization")
@pytest.mark.parametrize(
    ("name", "cut", "size"),
    [
        ("small", "7", 32),
        ("resnet18", "layer4", 32),
        ("resnet18", "layer3.1", 32),
        ("mobilenet_v3_small", "features.9", 32),
        ("vit_b_32", "encoder.layers.encoder_layer_11", 224),
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
