"""The benchmarks run from end to end in tiny sizes. No timing is judged here."""

import json
import re

import pytest
import torch

from benchmarks import candidates, gpu, growth, inputs, measure, selection

pytest.importorskip("faiss")
SMALL = inputs.cars196("train", "clustered", 8, share=40)


def test_the_labels_are_those_of_cars196():
    train = inputs.cars196("train", "random", 1)
    assert len(train.fine) == 8054 and len(train.coarse.unique()) == 17
    assert len(inputs.cars196("test", "random", 1).fine) == 8131
    assert train.embeddings.norm(dim=1).allclose(torch.ones(8054))


def test_a_wrong_answer_is_seen():
    for name in ("method1", "method2", "cdist"):
        answer = dict(candidates.ALL[name].run(SMALL))
        for wrong in ("negative", "positive_positive", "positive_negative"):
            changed = answer | {wrong: answer[wrong].roll(1)}
            assert candidates.right(name, SMALL, changed) < 0.9


def test_memory_is_measured_in_a_process_of_its_own():
    few = inputs.regular(4000, 500, 64)
    used = measure.peak_memory("cdist", few)  # holds 500 × N float32 at least
    assert 4 * 500 * 4000 < used < 1 << 30


def test_the_whole_run_on_the_cpu(tmp_path, monkeypatch):
    for part in (selection, growth):  # no processes: the test above starts one
        monkeypatch.setattr(part, "peak_memory", lambda name, inputs: 4096)
    monkeypatch.setattr(selection, "RESULTS", tmp_path)
    path = selection.main(["--threads", "1", "--tiny"])
    record = json.loads(path.read_text())
    assert path == tmp_path / "tiny" / "cpu.json"
    assert record["tiny"] and record["threads"] == 1
    for kind in inputs.KINDS:
        rows = [r["name"] for r in record["selection"] if r["embeddings"] == kind]
        assert rows == [*candidates.OURS, "recall"]
    assert [row["name"] for row in record["peers"]] == [*candidates.PEERS]
    for row in record["selection"] + record["peers"]:
        assert row["right"] == 1 and row["seconds"] > 0 and row["floor"] > 0
    assert len(record["growth_n"]) == len(record["growth_b"]) == 2
    assert {row["embeddings"] for row in record["approximate"]} == {*inputs.KINDS}
    assert record["steps"][0]["ratio"] > 0
    assert not re.search(r"/(home|root|work|tmp|Users)/", path.read_text())


def test_the_gpu_part_runs_on_the_cpu(monkeypatch, capsys):
    if torch.cuda.is_available():
        pytest.skip("this proves the code where there is no GPU")
    for name in ("memory_allocated", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda: 0)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    rows = list(gpu.selection("cpu", [400], 64, 16, 1))
    assert [row["products"] for row in rows] == ["float32"] * 2 + ["tf32"] * 2
    assert all(row["right"] == 1 for row in rows)
    assert torch.get_float32_matmul_precision() == "highest"
    with pytest.raises(SystemExit):
        selection.main(["--device", "cuda"])
    assert "no CUDA device" in capsys.readouterr().err
