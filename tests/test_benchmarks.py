"""The benchmarks run from end to end in tiny sizes. No timing is judged here."""

import json
import re
from dataclasses import replace

import pytest
import torch

from benchmarks import candidates, gpu, growth, inputs, measure, selection

SMALL = inputs.cars196("train", "clustered", 8, share=40)


@pytest.fixture
def one_thread():
    """The script sets the threads of its process."""
    before = torch.get_num_threads()
    yield ["--threads", "1", "--tiny"]
    torch.set_num_threads(before)


def test_the_labels_are_those_of_cars196():
    train = inputs.cars196("train", "random", 1)
    assert len(train.fine) == 8054 and len(train.coarse.unique()) == 17
    assert len(inputs.cars196("test", "random", 1).fine) == 8131
    assert train.embeddings.norm(dim=1).allclose(torch.ones(8054))


@pytest.mark.parametrize("name", candidates.ALL)
def test_every_candidate_gives_the_right_answer(name):
    if name.startswith("faiss"):
        pytest.importorskip("faiss")
    for kind in inputs.KINDS:
        few = inputs.cars196("train", kind, 8, share=40)
        if name == "recall":
            few = replace(few, references=torch.arange(len(few.fine)))
        assert candidates.right(name, few, candidates.ALL[name].run(few)) == 1


@pytest.mark.parametrize("name", ["method1", "method2", "hardest_negative", "cdist"])
def test_a_wrong_answer_is_seen(name):
    answer = dict(candidates.ALL[name].run(SMALL))
    names = ["negative"]
    if name != "hardest_negative":
        names += ["positive_positive", "positive_negative"]
    for wrong in names:
        changed = answer | {wrong: answer[wrong].roll(1)}
        assert candidates.right(name, SMALL, changed) < 0.9


def test_memory_is_measured_in_a_process_of_its_own():
    few = inputs.regular(4000, 4000, 4)
    found = measure.peak_memory("batch_hard", few)  # holds N × N float32 at least
    assert found > 4 * 4000**2


def test_the_whole_run_on_the_cpu(tmp_path, one_thread, monkeypatch):
    pytest.importorskip("faiss")
    for part in (selection, growth):  # no processes: the test above starts one
        monkeypatch.setattr(part, "peak_memory", lambda name, inputs: 4096)
    path = selection.main([*one_thread, "--out", str(tmp_path)])
    record = json.loads(path.read_text())
    assert path.name == "cpu.json" and record["tiny"] and record["threads"] == 1
    assert {row["name"] for row in record["selection"]} == {
        *candidates.OURS,
        *candidates.RECALL,
    }
    assert {row["name"] for row in record["peers"]} == {*candidates.PEERS}
    for row in record["selection"] + record["peers"]:
        assert row["right"] == 1 and row["seconds"] > 0 and row["floor"] > 0
    assert len(record["growth_n"]) == len(record["growth_b"]) == 2
    assert {row["embeddings"] for row in record["approximate"]} == {*inputs.KINDS}
    assert record["steps"][0]["ratio"] > 0
    assert not re.search(r"/(home|root|work|tmp|Users)/", path.read_text())


def test_without_faiss_its_rows_say_so(monkeypatch):
    monkeypatch.setattr(selection, "_libraries", dict)
    sizes = selection.TINY | {"memory": (), "triplets": ()}
    parts = selection.cpu_parts(sizes)
    rows = {row["name"]: row for row in parts["peers"]}
    assert rows["faiss_selector"]["not_run"] == "FAISS is not installed"
    assert "does not fit" in rows["triplet_margin"]["not_run"]
    assert rows["cdist"]["right"] == 1
    assert list(parts["approximate"]) == [{"not_run": "FAISS is not installed"}]


class Trunk(torch.nn.Module):
    """As a ResNet, but seconds faster to compile."""

    def __init__(self, name):
        super().__init__()
        self.fc = torch.nn.Linear(3, 8)

    def forward(self, images):
        return self.fc(images.mean((2, 3)))


def test_the_gpu_part_runs_on_the_cpu(tmp_path, one_thread, monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("this proves the code where there is no GPU")
    monkeypatch.setattr(gpu, "get_model", Trunk)
    path = selection.main([*one_thread, "--device", "cuda", "--out", str(tmp_path)])
    record = json.loads(path.read_text())
    assert path.name == "cuda.json" and record["machine"] == "no GPU"
    assert len(record["selection"]) == 8 and len(record["training"]) == 2
    assert all(row["right"] == 1 for row in record["selection"])


def test_without_a_gpu_nothing_pretends_to_be_one(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SystemExit):
        selection.main(["--device", "cuda"])
    assert "no CUDA device" in capsys.readouterr().err
