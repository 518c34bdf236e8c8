"""What the page on speed says is what the record holds."""

import json

import pytest
from bench_record import cpu, cuda

from qsel.book import performance as tables


def html(shown) -> str:
    return shown.to_html()


def test_a_record_is_found_from_the_root_and_from_a_notebook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tables.load() == {}
    folder = tmp_path / "benchmarks" / "results"
    folder.mkdir(parents=True)
    (folder / "cpu.json").write_text(json.dumps(cpu()))
    assert tables.load() == cpu() and tables.load("cuda") == {}
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert tables.load() == cpu()
    (folder / "cuda.json").write_text("{")
    with pytest.raises(ValueError, match=r"cuda\.json is no record of make bench"):
        tables.load("cuda")


def test_without_a_record_everything_says_so():
    for show in (
        tables.show_targets,
        tables.say_targets,
        tables.show_peers,
        tables.say_peers,
        tables.show_approximate,
        tables.arithmetic,
        tables.show_gpu,
        tables.show_training,
    ):
        assert show({}).data.startswith("Not run")
    assert tables.provenance({}) == "Not run."


def test_where_the_numbers_are_from():
    said = tables.provenance(cpu())
    assert said == (
        "Measured on some CPU, 2 cores (threads: 2) on 2026-01-02, in 14.6 minutes, "
        "with torch 2.15.0; `python -m benchmarks.selection` repeats it."
    )
    assert tables.provenance(cpu() | {"tiny": True}).startswith("Tiny sizes, which")


def test_every_target_is_there_missed_ones_included():
    frame = tables.targets(cpu(), cuda())
    assert frame.met.tolist() == [
        *(True, False, True, True),  # of the selection: Method 1 is missed
        False,  # the step
        *(True, True, False) * 2,  # memory
        *(True, True),  # of the GPU
    ]
    without = tables.targets(cpu())
    assert without.met.tolist()[-2:] == [None, None] and len(without) == len(frame)
    shown = html(tables.show_targets(cpu()))
    assert shown.count("missed") == 4 and shown.count("not run") == 2
    assert "≤ 1.5 × floor" in shown and "≥ 0.95 × images/s" in shown


def test_what_is_said_of_the_targets():
    said = tables.say_targets(cpu()).data.splitlines()
    assert said[0] == "- 7 of 11 targets are met."
    assert said[1] == (
        "- Missed: Method 1, clustered embeddings, 2.00 × floor instead of 1.5."
    )
    assert said[-1] == "- 2 were not measured." and len(said) == 6


def test_peers_stand_beside_this_package():
    shown = html(tables.show_peers(cpu()))
    for words in ("8,054", "1,024", "10.0", "50 % of 128", "N only", "not installed"):
        assert words in shown
    assert "Recall" not in shown
    assert tables.say_peers(cpu()).data.splitlines() == [
        "- cdist: 10.0 × the time of method 2.",
        "- FAISS: 5.00 × the time of hardest negative.",
        "- Triplets: 1,024 samples were the most that fit, of 8,054.",
        "- Another: not run (it is not installed).",
    ]


def test_the_approximate_index():
    shown = html(tables.show_approximate(cpu()))
    for words in ("25.0 %", "12.5 %", "0.500", "4.00", "30.0"):
        assert words in shown
    none = {"approximate": [{"not_run": "FAISS is not installed"}]}
    assert tables.show_approximate(none).data == "Not run."


def test_the_arithmetic_is_that_of_the_products():
    shown = html(tables.arithmetic(cpu(), sizes=(10**7,)))
    # 10.24 s for 2 · 2048 · 500,000 · 256 operations; 1,000 references need more.
    took = 10.24 * (1000 * 1e7 * 1024) / (2048 * 5e5 * 256)
    assert f"{took / 60:,.0f} minutes" in shown
    assert "38 GiB" in shown and "10,000,000" in shown


def test_the_gpu():
    assert "tf32" in html(tables.show_gpu(cuda()))
    shown = html(tables.show_training(cuda()))
    assert "resnet101" in shown and "0.960" in shown
