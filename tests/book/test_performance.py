"""What the page on speed says is what the record holds."""

import json

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


def test_where_the_numbers_are_from():
    assert tables.provenance(cpu()) == (
        "Measured on some CPU, 2 cores (threads: 2) on 2026-01-02, in 14.6 minutes, "
        "with torch 2.15.0; `python -m benchmarks.selection` repeats it."
    )
    assert tables.provenance({}) == tables.show_gpu({}).data == "Not run."


def test_every_target_is_there_missed_ones_included():
    assert tables.targets(cpu()).met.tolist() == [
        *(True, False, True, True),  # of the selection: Method 1 is missed
        False,  # the step
        *(True, True, False) * 2,  # memory
    ]
    shown = html(tables.show_targets(cpu()))
    assert shown.count("missed") == 4 and "≤ 1.5 × floor" in shown
    said = tables.say_targets(cpu()).data.splitlines()
    assert said[:2] == [
        "- 7 of 11 targets are met.",
        "- Missed: Method 1, clustered embeddings, 2.00 × floor instead of 1.5.",
    ]
    assert len(said) == 5


def test_peers_stand_beside_this_package():
    shown = html(tables.show_peers(cpu()))
    for words in ("8,054", "10.0", "50 % of 128", "N only"):
        assert words in shown
    assert "Recall" not in shown
    assert tables.say_peers(cpu()).data.splitlines() == [
        "- cdist: 10.0 × the time of method 2.",
        "- FAISS: 5.00 × the time of hardest negative.",
        "- Triplets: 110 × the time of hardest negative.",
    ]


def test_the_approximate_index_and_the_gpu():
    shown = html(tables.show_approximate(cpu()))
    for words in ("25.0 %", "12.5 %", "0.500", "4.00", "30.0"):
        assert words in shown
    assert "tf32" in html(tables.show_gpu(cuda()))
