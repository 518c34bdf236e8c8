"""Several processes train as one does."""

import multiprocessing
import os
import socket
import sys
import traceback
from contextlib import redirect_stdout
from io import StringIO

import pytest
import tiny
import torch

from qsel import cli
from qsel.data import load
from qsel.experiments import network, training
from qsel.experiments.config import preset
from qsel.experiments.distributed import ALONE, TeamError, joined
from qsel.experiments.record import Record
from qsel.experiments.run import Setup, run

pytest.importorskip("lightning_fabric", reason="several processes train by Fabric")

LEVELS = ("fine", "coarse")
PLAIN = dict(trunk="tiny:plain", dropout=0.0)  # nothing that differs by process
ROWS = {
    "random": {},
    "method2": dict(siblings="all"),  # by its own rule a class is drawn
    "proxy_anchor": {},
    "triplet_global": dict(freeze="trunk", augment=False),
}
SETTINGS = tiny.SETTINGS | dict(trunk="tiny:plain", dropout="0.0")
SETTINGS |= dict(batch="11", epochs="1")


def trained(processes):
    """For each row its losses, images, weights and embeddings of the test classes."""
    found = {}
    for method, settings in ROWS.items():
        # 27 images a step for triplets: not all can be shared evenly
        config = tiny.config(method=method, seed=3, batch=9, **PLAIN | settings)
        images, draw = [], training._Run._draw

        def drawn(run, *arguments, images=images, draw=draw):
            images += (chosen := draw(run, *arguments))
            return chosen

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training._Run, "_draw", drawn)
            done = training.train(
                tiny.zero_shot(), config, tiny.CPU, processes=processes
            )
        found[method] = (
            [epoch["loss"] for epoch in done.curve],
            [chosen.tolist() for chosen in images],
            {name: value.numpy() for name, value in done.model.state_dict().items()},
            network.embed(done.model, done.test, processes).numpy(),
        )
    return found


def searched(processes):
    """By Method 2's own rule: the images of two steps, and the common stream after."""
    config = tiny.frozen(method="method2", **PLAIN)
    model, inputs, _ = network.prepare(tiny.zero_shot(), config, tiny.CPU)
    labels = tiny.zero_shot().train.hierarchy
    run = training._Run(labels, config, model, model, inputs, None, processes)
    torch.manual_seed(5)
    images = run._draw(config, list(torch.arange(20).split(13)), 0)
    return [chosen.tolist() for chosen in images], torch.rand(1).item()


def commanded(source, out):
    """What the command line prints."""
    words = ["train", "--preset=smoke", f"--data={source}", "--method=method1"]
    words += [f"--set={name}={value}" for name, value in SETTINGS.items()]
    with redirect_stdout(StringIO()) as told:
        cli.app([*words, f"--out={out}", "--workers=0"], standalone_mode=False)
    return told.getvalue()


def work(rank, size, ports, source, out, answers):
    """Answer with all of the above; then the second process ends without a word."""
    torch.set_num_threads(1)
    os.environ |= {
        **dict(RANK=str(rank), LOCAL_RANK=str(rank), GROUP_RANK="0"),
        **dict(WORLD_SIZE=str(size), LOCAL_WORLD_SIZE=str(size)),
        **dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(ports[0])),
        "TORCHELASTIC_RUN_ID": "a test",
    }
    try:
        told = commanded(source, out)
        os.environ["MASTER_PORT"] = str(ports[1])
        with joined() as processes:
            answers.put((told, trained(processes), searched(processes)))
            if rank == 1:
                answers.close()
                answers.join_thread()
                os._exit(9)
            processes.gather(torch.zeros(1, 1), 3)
    except TeamError as error:
        answers.put(str(error))
    except Exception:
        answers.put(traceback.format_exc())


def together(size, *where):
    """What the processes answer, and what they say when one of them has died."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lightning_fabric", __name__])  # once, not by each
    with socket.socket() as one, socket.socket() as two:
        for free in (one, two):
            free.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], two.getsockname()[1]
    answers = context.Queue()
    started = [
        context.Process(target=work, args=(rank, size, ports, *where, answers))
        for rank in range(size)
    ]
    for process in started:
        process.start()
    try:
        found = [answers.get(timeout=120) for _ in range(2 * size - 1)]
    finally:
        for process in started:
            process.join(10)
            process.kill()
    said = [answer for answer in found if isinstance(answer, str)]
    return [answer for answer in found if not isinstance(answer, str)], said


def test_two_processes_do_what_one_does_until_one_dies(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "cache"))
    source = str(tiny.as_folder(tmp_path / "photos"))
    answers, said = together(2, source, str(tmp_path / "two"))
    assert len(answers) == 2, said[0]
    alone = trained(ALONE)
    for _, rows, _ in answers:
        for method, (losses, images, weights, embeddings) in rows.items():
            one = alone[method]
            assert images == one[1]
            assert losses == pytest.approx(one[0], rel=1e-5)
            for name, value in weights.items():
                assert value == pytest.approx(one[2][name], abs=1e-5)
            assert embeddings == pytest.approx(one[3], abs=1e-4)

    # What is drawn for a share differs from what one process draws, but not the rest.
    images, luck = searched(ALONE)
    fine, coarse = (getattr(tiny.zero_shot().train.hierarchy, k) for k in LEVELS)
    for *_, (theirs, their_luck) in answers:
        assert theirs == answers[0][2][0] and their_luck == luck
        for chosen, by_one in zip(theirs, images, strict=True):
            (r, p, m, n), (its_r, *_, its_n) = (
                torch.tensor(x).view(4, -1) for x in (chosen, by_one)
            )
            assert r.equal(its_r) and n.equal(its_n)
            assert fine[p].equal(fine[r]) and (p != r).all()
            assert coarse[m].equal(coarse[r]) and (fine[m] != fine[r]).all()

    assert said == [
        "another process of this run has stopped, or cannot be reached; start the run "
        "again, and it goes on from its last checkpoint"
    ]

    # By the command line: one of them speaks, and writes what one alone would.
    assert sorted(told.count("record: ") for told, *_ in answers) == [0, 1]
    two = Record.load(tmp_path / "two" / "record.json")
    assert two.device.startswith("2 × cpu")
    assert two.command.startswith("torchrun --nproc-per-node=2 -m qsel train")
    config = preset("smoke", "method1").with_settings(SETTINGS)
    one = run(Setup(load(source), source, "smoke", config), tmp_path / "one", tiny.CPU)
    losses = [epoch["loss"] for epoch in one.curve]
    assert [epoch["loss"] for epoch in two.curve] == pytest.approx(losses, rel=1e-5)
    assert two.metrics == pytest.approx(one.metrics, abs=0.01)
    weights, theirs = (
        torch.load(tmp_path / folder / "model.pt", weights_only=True)
        for folder in ("one", "two")
    )
    torch.testing.assert_close(theirs, weights, rtol=0, atol=1e-5)


def test_one_process_needs_no_engine(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with joined() as processes:
        assert (processes.rank, processes.size) == (0, 1)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a test")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    wrong = pytest.raises(TeamError, match="2 processes on this machine .* 1 GPU")
    with wrong, joined():
        pass
