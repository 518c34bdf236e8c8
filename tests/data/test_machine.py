"""Cores, threads, and results that do not depend on the caller's settings."""

import os
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import tiny
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from qsel.data import machine
from qsel.data.machine import available_cores, fresh_settings
from qsel.data.synthcars import synthcars
from qsel.experiments import pretraining
from qsel.experiments.config import preset
from qsel.experiments.frozen import frozen_features
from qsel.experiments.network import embed, prepare
from qsel.experiments.run import Setup, run, untrained
from qsel.experiments.training import train
from qsel.experiments.trunks import build_trunk


@contextmanager
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


MODES = {
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "autocast": partial(torch.autocast, "cpu", torch.bfloat16),
    "float64": float64,
    "device": partial(torch.device, "meta"),
}
DATA = tiny.zero_shot()  # the caller's own, not made in a mode
modes = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)


@pytest.fixture
def empty_caches(tmp_path, monkeypatch):
    """A function that gives the next caller an empty cache."""
    # Fewer steps and images than it takes to learn anything
    monkeypatch.setattr(pretraining, "STEPS", 8)
    monkeypatch.setattr(pretraining, "synthcars", lambda **_: DATA)
    names = iter(range(100))

    def empty():
        monkeypatch.setenv("QSEL_CACHE", str(tmp_path / str(next(names))))

    empty()
    return empty


# --- cores and threads -----------------------------------------------------------


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 6), ("250000 100000", 2), ("50000 100000", 1), ("", 6), (None, 6)],
)
def test_cores_are_those_of_the_process_and_its_container(
    quota, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setattr(machine, "_QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    assert available_cores() == expected


def test_cores_of_a_system_without_affinity(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(machine, "_QUOTA", tmp_path / "none")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert available_cores() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


def threads() -> set[int]:
    """Of torch and of every library that computes in threads."""
    return {
        torch.get_num_threads(),
        *(pool["num_threads"] for pool in threadpool_info()),
    }


def test_one_thread_unless_the_user_says_how_many(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with threadpool_limits(3):
        torch.set_num_threads(3)
        with fresh_settings():
            assert threads() == {1}
        assert threads() == {3}
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        with fresh_settings():
            assert threads() == {3}
    torch.set_num_threads(1)


def test_a_record_names_the_threads_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(2)
    asked = Setup(DATA, "tiny", "smoke", tiny.frozen(epochs=1))
    record = run(asked, tmp_path / "run", tiny.CPU)
    assert record.device == "cpu, 1 threads" and torch.get_num_threads() == 2
    torch.set_num_threads(1)


# --- modes -----------------------------------------------------------------------


@modes
def test_no_mode_of_the_caller_reaches_inside(mode):
    def state():
        x = torch.ones(2, 2)
        return (
            torch.is_grad_enabled(),
            x.is_inference(),
            x.dtype,
            (x @ x).dtype,
            x.device,
        )

    usual = (True, False, torch.float32, torch.float32, tiny.CPU)
    with mode():
        before = state()
        with fresh_settings():
            assert state() == usual
        assert state() == before != usual
    assert state() == usual


def small_weights():
    return list(pretraining.small_trunk_weights().values())


def trunk():
    built, _ = build_trunk(tiny.config(trunk="small"))
    return list(built.parameters())


def features():
    trunk, _ = build_trunk(tiny.frozen())
    return [frozen_features(trunk, DATA.train, tiny.frozen(), tiny.CPU)]


def prepared():
    head, inputs, _ = prepare(DATA, tiny.frozen(whiten=0.5), tiny.CPU)
    return [*head.parameters(), head.whitening, inputs.raw, inputs.features]


def prepared_from_synthcars():
    config = tiny.config(trunk="small", weights="synthcars")
    return list(prepare(DATA, config, tiny.CPU)[0].parameters())


def embeddings():
    model, inputs, _ = prepare(DATA, tiny.config(), tiny.CPU)
    return [embed(model, inputs)]


def start():
    asked = tiny.frozen(method="start")
    return [untrained(Setup(DATA, "tiny", "smoke", asked), tiny.CPU)]


def trained():
    found = train(DATA, tiny.config(epochs=1), tiny.CPU)
    return list(found.model.parameters())


@modes
@pytest.mark.parametrize(
    "make",
    [
        *(small_weights, trunk, features, prepared, prepared_from_synthcars),
        *(embeddings, start, trained),
    ],
)
def test_what_is_made_or_kept_is_the_same_in_every_mode(make, mode, empty_caches):
    torch.manual_seed(0)
    expected = make()
    empty_caches()
    torch.manual_seed(0)
    with mode():
        found = make()
    again = make()  # from the cache
    for one, other, third in zip(expected, found, again, strict=True):
        assert torch.equal(one, other) and not other.is_inference()
        assert one.requires_grad == other.requires_grad
        assert one.shape == third.shape


def test_row_start_on_a_new_machine(tmp_path, monkeypatch):
    """With nothing in the cache the pre-trained trunk is trained on the way."""
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pretraining, "STEPS", 8)
    monkeypatch.setattr(pretraining, "IMAGES_PER_MODEL", 1)
    config = preset("smoke", "start")
    asked = Setup(synthcars(images_per_model=2), "synthcars", "smoke", config)
    cold = run(asked, tmp_path / "cold", tiny.CPU)
    warm = run(asked, tmp_path / "warm", tiny.CPU)
    assert cold.metrics == warm.metrics
    assert 0 < cold.metrics["R@1"] < 1 and np.isfinite(cold.metrics["NMI"])
