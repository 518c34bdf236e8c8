"""Several processes agree with one: shares, selection, training."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from processes import together
from test_selection import FAMILIES, random_labels, random_points, usable

from qsel import experiment, select_quadruplets
from qsel.distributed import ALONE, Team, TeamError
from qsel.hierarchy import ClassIndex
from qsel.runs import Record
from qsel.selection import METHODS


@given(st.integers(0, 50), st.integers(1, 7))
def test_shares_are_all_there_is_in_order_and_nearly_equal(n, size):
    shares = [Team(rank, size).share(n) for rank in range(size)]
    assert [i for s in shares for i in range(n)[s]] == list(range(n))
    sizes = [s.stop - s.start for s in shares]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 10_000))
def test_the_places_of_a_share(first, length, seed):
    fine, coarse = random_labels(np.random.default_rng(seed))
    samples = slice(min(first, len(fine)), min(first + length, len(fine)))
    classes = ClassIndex(fine, coarse)
    here = classes.share(samples)
    for kind in ("fine", "coarse"):
        labels = getattr(classes, kind)
        for c in range(int(labels.max()) + 1):
            start = int(getattr(here, f"{kind}_start")[c])
            size = int(getattr(here, f"{kind}_size")[c])
            found = here.order[start : start + size] + samples.start
            assert sorted(found.tolist()) == [
                i for i in range(samples.start, samples.stop) if labels[i] == c
            ]
    for i, place in enumerate(here.position.tolist()):
        inside = samples.start <= i < samples.stop
        assert (place >= 0) == inside
        assert not inside or here.order[place] + samples.start == i


def gathered(team, n):
    """Whether all of n come together in order, and the gradient of one's own."""
    values = torch.arange(float(n))[:, None] * torch.ones(2)
    share = values[team.share(n)].requires_grad_()
    every = team.gather(share, n)
    (every * torch.arange(1.0, n + 1)[:, None]).sum().backward()
    return every.detach().equal(values), share.grad[:, 0].tolist()


def selections(team, cases):
    """For each case the quadruplets, from a shard of any size in each process."""
    found = []
    for points, fine, coarse, ends, references, method, switches in cases:
        ends = [0, *ends, len(points)]
        shard = points[ends[team.rank] : ends[team.rank + 1]]
        generator = torch.Generator().manual_seed(1)
        q = select_quadruplets(
            *(shard, fine, coarse, references, method, generator),
            **switches,
            team=team,
        )
        found.append(q.stack().tolist())
    return found


def refused(team):
    """What is said to shards that do not add up to the labels."""
    fine = torch.arange(12) % 4
    r = torch.arange(3)
    with pytest.raises(TeamError) as error:
        select_quadruplets(torch.randn(2, 2), fine, fine // 2, r, team=team)
    return str(error.value)


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


def everything(team, cases, folder):
    return (
        [gathered(team, n) for n in (7, 5, 2)],
        selections(team, cases),
        refused(team),
        trained(team, folder),
    )


def shard_cases(size):
    """Labels, points, and where one shard ends and the next begins."""
    rng = np.random.default_rng(size)
    cases = []
    for case in range(96):
        fine, coarse = random_labels(rng)
        family = list(FAMILIES)[case % len(FAMILIES)]
        points = random_points(rng, family, len(fine), torch.float32)
        references = usable(fine.tolist(), coarse.tolist())
        if not references:
            continue
        cuts = rng.choice(np.arange(1, len(fine)), size - 1, replace=False)
        method = METHODS[case % len(METHODS)]
        switches = {}
        if method in ("method1", "method2"):
            switches = {
                "negative": str(rng.choice(["nearest", "random"])),
                "siblings": str(rng.choice(["own rule", "all", "drawn", "coarse"])),
                "fallback": str(rng.choice(["furthest", "nearest"])),
            }
        cases.append(
            (
                *(points, fine, coarse, sorted(cuts.tolist())),
                *(torch.tensor(references), method, switches),
            )
        )
    assert len(cases) > 50
    return cases


@pytest.mark.parametrize("size", [2, 3])
def test_processes_do_together_what_one_does(size, tmp_path):
    cases = shard_cases(size)
    answers = together(everything, size, cases, tmp_path)

    for i, n in enumerate((7, 5, 2)):
        found = [gather[i] for gather, *_ in answers]
        assert all(in_order for in_order, _ in found)
        assert [g for _, own in found for g in own] == [float(j + 1) for j in range(n)]

    for i, (points, fine, coarse, _, references, method, switches) in enumerate(cases):
        alone = select_quadruplets(
            *(points, fine, coarse, references, method),
            torch.Generator().manual_seed(1),
            **switches,
        )
        assert all(found[i] == alone.stack().tolist() for _, found, *_ in answers)

    assert {said for *_, said, _ in answers} == {
        f"the processes hold {[2] * size} embeddings, {2 * size} in all, but there are "
        "12 labels; expected one embedding for each label, the first of them with "
        "rank 0"
    }

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
