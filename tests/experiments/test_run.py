"""One run from settings to record."""

import dataclasses

import pytest
import tiny
import torch

from qsel.data import ImageSet
from qsel.experiments import network, training
from qsel.experiments import record as runs
from qsel.experiments import run as experiment
from qsel.experiments.network import embed, evaluate
from qsel.experiments.record import Record, RunError
from qsel.experiments.rows import UNTRAINED
from qsel.experiments.run import Setup, run, untrained
from qsel.experiments.trained import load_model
from qsel.experiments.trunks import IMAGENET
from qsel.hierarchy import Hierarchy


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def trains(monkeypatch):
    """How often a network was trained."""
    calls = []
    real = training.train

    def counted(*arguments, **options):
        calls.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(experiment, "train", counted)
    return calls


def setup(**changes) -> Setup:
    return Setup(tiny.zero_shot(), "tiny", "smoke", tiny.frozen(**changes))


def test_the_record_is_of_the_network_beside_it(tmp_path):
    asked, folder = setup(), tmp_path / "run"
    record = run(asked, folder, tiny.CPU)
    assert sorted(p.name for p in folder.iterdir()) == ["model.pt", "record.json"]
    assert Record.load(folder / "record.json") == record
    assert record.config == asked.config.to_dict() and record.preset == "smoke"
    assert len(record.curve) == asked.config.epochs
    model, _, test = load_model(asked, folder, tiny.CPU)
    labels = asked.data.test.hierarchy.fine
    assert evaluate(embed(model, test), labels) == record.metrics
    hits, images = (sum(record.by_class[name]) for name in ("R@1", "images"))
    assert record.metrics["R@1"] == hits / images
    again = run(asked, tmp_path / "other", tiny.CPU)
    assert dataclasses.replace(again, seconds=record.seconds) == record


@pytest.mark.parametrize("method", UNTRAINED)
def test_rows_without_training(tmp_path, trains, method):
    asked, folder = setup(method=method), tmp_path / "run"
    record = run(asked, folder, tiny.CPU)
    assert not trains and record.curve == []
    assert [p.name for p in folder.iterdir()] == ["record.json"]
    assert run(asked, folder, tiny.CPU) == record
    _, _, inputs = network.prepare(asked.data, asked.config, tiny.CPU)
    if method == "start":
        expected = inputs.raw
    else:
        pixels = asked.data.test.pixels.flatten(1).float() / 255
        mean, std = (
            torch.tensor(x).repeat_interleave(16 * 16)
            for x in (IMAGENET.mean, IMAGENET.std)
        )
        expected = (pixels - mean) / std
    expected = torch.nn.functional.normalize(expected, dim=1)
    assert torch.allclose(untrained(asked, tiny.CPU), expected, atol=1e-5)
    labels = asked.data.test.hierarchy.fine
    assert record.metrics["R@1"] == evaluate(expected, labels)["R@1"]
    with pytest.raises(RunError, match="no trained network"):
        load_model(asked, folder, tiny.CPU)


def test_another_run_is_not_overwritten(tmp_path, trains):
    record = run(setup(), tmp_path, tiny.CPU)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    other_data = dataclasses.replace(setup(), data=tiny.zero_shot(seed=1))
    for other in (setup(seed=1), other_data):
        with pytest.raises(RunError, match="holds another run .qsel train") as error:
            run(other, tmp_path, tiny.CPU)
        assert str(tmp_path) in str(error.value)
    after = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    assert after == before
    # Older records named no classes; the fingerprints say whether the data is the same.
    del record.data["trained on"]
    record.save(tmp_path / "record.json")
    assert run(setup(), tmp_path, tiny.CPU) == record and len(trains) == 1


def test_another_results_version_runs_again(tmp_path, trains, monkeypatch):
    run(setup(), tmp_path, tiny.CPU)
    run(setup(), tmp_path, tiny.CPU)
    assert len(trains) == 1
    monkeypatch.setattr(experiment, "RESULTS_VERSION", 2)
    monkeypatch.setattr(runs, "RESULTS_VERSION", 2)
    again = run(setup(), tmp_path, tiny.CPU)
    assert len(trains) == 2 and again.versions["results"] == 2


def test_an_interrupted_run_leaves_no_record_and_goes_on(tmp_path, monkeypatch):
    asked, real = setup(epochs=3), training.train

    def stopped(data, config, device, workers, checkpoint, processes):
        def stop(epoch, model):
            raise KeyboardInterrupt

        return real(data, config, device, workers, checkpoint, stop)

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "train", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(asked, tmp_path / "run", tiny.CPU)
    (left,) = (tmp_path / "run").iterdir()
    assert left.name.startswith("checkpoint")
    resumed = run(asked, tmp_path / "run", tiny.CPU)
    straight = run(asked, tmp_path / "other", tiny.CPU)
    assert resumed.metrics == straight.metrics and resumed.curve == straight.curve
    assert not left.exists()


def test_a_network_of_other_classes_is_one_sentence(tmp_path):
    asked = setup(epochs=1)
    run(asked, tmp_path, tiny.CPU)
    fewer = asked.data.train.subset(range(24))
    other = dataclasses.replace(asked.data, train=fewer)
    with pytest.raises(RunError) as error:
        load_model(dataclasses.replace(asked, data=other), tmp_path, tiny.CPU)
    assert "model.pt does not fit: " in str(error.value)
    assert "fine.weight has shape (6, 8), and the settings and tiny make it (4, 8)" in (
        str(error.value)
    )


@pytest.mark.parametrize("damage", ["cut", "list", "other"])
def test_a_damaged_network_is_named(damage, tmp_path):
    asked, path = setup(epochs=0), tmp_path / "model.pt"
    run(asked, tmp_path, tiny.CPU)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:500])
    else:
        torch.save([3] if damage == "list" else {"other": torch.zeros(3)}, path)
    with pytest.raises(RunError, match=r"model\.pt .*train") as error:
        load_model(asked, tmp_path, tiny.CPU)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("images", "each", "says"),
    [
        (12, 12, "NMI two fine classes .here 1."),
        (12, 1, "MAP@R two images of one"),
        (8, 4, "8 images; R@8 needs 9"),
    ],
)
def test_a_test_part_that_no_metric_can_judge(tmp_path, trains, images, each, says):
    names = [f"t{i // each}" for i in range(images)]
    labels = Hierarchy.from_names(names, names)
    data = dataclasses.replace(
        tiny.zero_shot(),
        test=ImageSet.from_array("tiny", tiny.pixels(6)[:images], labels),
    )
    with pytest.raises(RunError, match=says):
        run(dataclasses.replace(setup(), data=data), tmp_path / "run", tiny.CPU)
    assert not trains and not (tmp_path / "run").exists()
