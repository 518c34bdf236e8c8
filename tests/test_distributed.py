"""Several processes agree with one: shares, training with selection."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from processes import together

from qsel import experiment
from qsel.distributed import ALONE, Team, TeamError
from qsel.runs import Record


@given(st.integers(0, 50), st.integers(1, 7))
def test_shares_are_all_there_is_in_order_and_nearly_equal(n, size):
    shares = [Team(rank, size).share(n) for rank in range(size)]
    assert [i for s in shares for i in range(n)[s]] == list(range(n))
    sizes = [s.stop - s.start for s in shares]
    assert max(sizes) - min(sizes) <= 1


def gathered(team, n):
    """Whether all of n come together in order, and the gradient of one's own."""
    values = torch.arange(float(n))[:, None] * torch.ones(2)
    share = values[team.share(n)].requires_grad_()
    every = team.gather(share, n)
    (every * torch.arange(1.0, n + 1)[:, None]).sum().backward()
    return every.detach().equal(values), share.grad[:, 0].tolist()


def trained(team, folder):
    """Metrics and weights after a run of the whole team."""
    found = {}
    for method in ("random", "method1", "method2", "semi_hard", "triplet_global"):
        config = tiny.frozen(method=method, seed=3, dropout=0.0, refresh=2)
        setup = experiment.Setup(tiny.zero_shot(), "tiny", "smoke", config)
        at = Path(folder) / f"{method}-{team.size}"
        record = experiment.run(setup, at, tiny.CPU, team=team)
        weights = torch.load(at / "model.pt", weights_only=True)
        found[method] = (
            record.metrics,
            [epoch["loss"] for epoch in record.curve],
            weights["embedding.weight"].tolist(),
        )
    return found


def everything(team, folder):
    return [gathered(team, n) for n in (7, 5, 2)], trained(team, folder)


@pytest.mark.parametrize("size", [2, 3])
def test_processes_do_together_what_one_does(size, tmp_path):
    answers = together(everything, size, tmp_path)

    for i, n in enumerate((7, 5, 2)):
        found = [gather[i] for gather, *_ in answers]
        assert all(in_order for in_order, _ in found)
        assert [g for _, own in found for g in own] == [float(j + 1) for j in range(n)]

    for method, (metrics, losses, weights) in trained(ALONE, tmp_path).items():
        for *_, found in answers:  # sums in another order
            theirs = found[method]
            assert theirs[0] == pytest.approx(metrics, abs=0.03)
            assert theirs[1] == pytest.approx(losses, rel=1e-4)
            torch.testing.assert_close(
                torch.tensor(theirs[2]), torch.tensor(weights), rtol=1e-3, atol=1e-5
            )


def dies(team):
    """The second process ends without a word while the first waits for it."""
    if team.rank == 1:
        os._exit(9)
    with pytest.raises(TeamError, match="another process of this run has stopped"):
        team.gather(torch.zeros(1), 2)
    return "told"


def test_a_process_that_dies_stops_the_others_with_a_message():
    assert together(dies, 2, missing=1) == ["told"]


def test_torchrun_trains_a_trunk_and_records_it_once(tmp_path):
    settings = [f"--set={name}={value}" for name, value in tiny.SETTINGS.items()]
    words = ["train", "--preset=smoke", "--data=synthcars?images_per_model=3"]
    words += [*settings, f"--out={tmp_path / 'run'}", "--set=epochs=1"]
    words += ["--set=image_size=16", "--set=resize=16"]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        + ["--nproc-per-node=2", "-m", "qsel", *words],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("record: ") == 1  # one of them speaks
    record = Record.load(tmp_path / "run" / "record.json")
    assert record.device.startswith("2 × cpu") and record.metrics["R@1"] > 0
