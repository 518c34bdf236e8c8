"""Threads, and results that do not depend on the caller's settings."""

from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
import tiny
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from qsel.data.machine import fresh_settings
from qsel.experiments import pretraining
from qsel.experiments.network import prepare
from qsel.experiments.training import train


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


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
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


def prepared():
    head, inputs, _ = prepare(DATA, tiny.frozen(whiten=0.5), tiny.CPU)
    return [*head.parameters(), head.whitening, inputs.raw, inputs.features]


def trained():
    found = train(DATA, tiny.config(epochs=1), tiny.CPU)
    return list(found.model.parameters())


@pytest.mark.parametrize("make", [small_weights, prepared, trained])
def test_what_is_made_or_kept_is_the_same_in_all_modes(make, tmp_path, monkeypatch):
    # Fewer steps and images than it takes to learn anything
    monkeypatch.setattr(pretraining, "STEPS", 4)
    monkeypatch.setattr(pretraining, "synthcars", lambda **_: DATA)
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "one"))
    torch.manual_seed(0)
    expected = make()
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "other"))
    torch.manual_seed(0)
    with ExitStack() as all_at_once:
        for mode in MODES.values():
            all_at_once.enter_context(mode())
        found = make()
    again = make()  # from the cache
    for one, other, third in zip(expected, found, again, strict=True):
        assert torch.equal(one, other) and not other.is_inference()
        assert one.requires_grad == other.requires_grad
        assert one.shape == third.shape
