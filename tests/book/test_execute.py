"""Executing notebooks: failures that say where, nothing lost, nothing repeated."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import papermill
import pytest
import tiny
from tiny_notebook import failing, notebook, repository, without_kernel

from qsel.book.execute import RUN, NotebookError, execute, run_table
from qsel.data.files import locked
from qsel.experiments import table1
from qsel.experiments.record import RunError
from qsel.experiments.row_names import QUADRUPLETS, QUOTED, UNTRAINED

TRAINED = QUOTED + QUADRUPLETS  # what a table runs by default
PHOTOS = "photos"  # of the repository, where commands run


@pytest.fixture
def executed(monkeypatch):
    """Papermill's calls, made without a kernel."""
    calls = []
    monkeypatch.setattr(papermill, "execute_notebook", without_kernel(calls))
    return calls


@pytest.fixture
def root(tmp_path, monkeypatch):
    root = repository(tmp_path / "root")
    tiny.as_folder(root / PHOTOS)
    monkeypatch.chdir(root)
    return root


# --- one notebook ----------------------------------------------------------------


def test_a_page_is_executed_and_tidied(tmp_path, capfd, monkeypatch):
    """With one GPU of its own, and sockets that no other program can take."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    code = """\
import os, sys
from ipykernel.kernelapp import IPKernelApp
kernel = IPKernelApp.instance()
print(os.environ["CUDA_VISIBLE_DEVICES"], kernel.transport, word, number + 1)
print("progress", file=sys.stderr)
if word == "fail":
    raise ValueError("asked to")
"""
    source = notebook(tmp_path / "notebooks" / "page.ipynb", code)
    page = tmp_path / "pages" / "page.ipynb"
    heard = []
    wanted = {"word": "hello", "number": 4}
    execute(source, page, wanted, tmp_path, gpu="7", watch=heard.append)
    done = nbformat.read(page, as_version=4)
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    assert [output["text"] for output in outputs] == ["7 ipc hello 5\n"]
    text = page.read_text(encoding="utf-8")
    for mark in ("papermill", "start_time", "iopub", "duration", str(tmp_path)):
        assert mark not in text
    assert "".join(heard) == "progress\n"
    assert "".join(capfd.readouterr()) == ""  # nothing of the kernel's own
    assert [p.name for p in page.parent.iterdir()] == ["page.ipynb"]
    # A failing cell is named, with its traceback; the page of before stays.
    with pytest.raises(NotebookError) as error:
        execute(source, page, {"word": "fail"}, tmp_path, gpu="7")
    message = str(error.value)
    assert "page.ipynb with {'word': 'fail'}, cell " in message
    assert 'if word == "fail":' in message and "ValueError: asked to" in message
    assert "\x1b" not in message
    assert page.read_text(encoding="utf-8") == text


def test_a_kernel_on_a_cpu_has_one_thread_and_its_last_words_are_heard(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    code = "import os\nwords = os.environ['OMP_NUM_THREADS'] + ' thread'\n"
    code += "os.write(2, words.encode())\nos._exit(3)"
    source = notebook(tmp_path / "page.ipynb", code, parameters="")
    with pytest.raises(NotebookError, match=r"(?s)page\.ipynb .*DeadKernel.*1 thread"):
        execute(source, tmp_path / "out.ipynb", {}, tmp_path)
    assert not (tmp_path / "out.ipynb").exists()


def test_a_page_is_executed_again_where_what_it_shows_changed(tmp_path, executed):
    source, page = notebook(tmp_path / "page.ipynb"), tmp_path / "out" / "page.ipynb"
    record = tmp_path / "record.json"
    record.write_text("one")

    def count(**parameters):
        execute(source, page, parameters, tmp_path, [record])
        return len(executed)

    assert count(word="a") == count(word="a") == 1
    assert count(word="b") == count(word="b") == 2
    record.write_text("two")
    assert count(word="b") == count(word="b") == 3
    notebook(source, "print(1)")
    assert count(word="b") == 4
    page.unlink()
    assert count(word="b") == count(word="b") == 5


def test_no_path_of_the_machine_in_a_page(tmp_path, root, executed):
    declared = 'data = ""\nruns = ""'
    source = notebook(tmp_path / "page.ipynb", parameters=declared)
    wanted = {"data": str(root / PHOTOS), "runs": str(tmp_path / "all")}
    execute(source, tmp_path / "out.ipynb", wanted, tmp_path)
    text = (tmp_path / "out.ipynb").read_text(encoding="utf-8")
    assert str(tmp_path) not in text and PHOTOS in text


# --- the runs of Table 1 ---------------------------------------------------------


def names(executed):
    return [(p["method"], p["seed"]) for _, p in executed]


def test_every_row_and_seed_once(root, executed):
    assert run_table(root, "smoke", PHOTOS, seeds=range(2)) == []
    trained = [(row, seed) for seed in (0, 1) for row in TRAINED]
    # Those without training first: they fill the caches.
    assert names(executed)[: len(UNTRAINED)] == [(u, 0) for u in UNTRAINED]
    assert sorted(names(executed)[len(UNTRAINED) :]) == sorted(trained)
    count = len(executed)
    run = root / table1.run_folder("runs", PHOTOS, "smoke", "random", 1)
    (run / "record.json").unlink()
    assert run_table(root, "smoke", PHOTOS, seeds=range(2)) == []
    assert names(executed[count:]) == [("random", 1)]
    run_table(root, "smoke", PHOTOS, seeds=[3], rows=["method1", "start"])
    assert names(executed[count + 1 :]) == [("method1", 3)]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (dict(rows=["method3"]), "no row 'method3'; expected some of raw_pixels,"),
        (dict(rows=["start"], seeds=[1]), "rows without training have seed 0 alone"),
        (dict(settings={"bacth": "3"}), "unknown setting 'bacth'"),
        (dict(runs="taken"), r"cannot write to .*taken.*--runs"),
        (dict(source="few"), r"test part has \d images; R@8 needs 9"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(root, executed, asked, says):
    (root / "taken").write_text("")
    tiny.as_folder(root / "few", fine_classes=3, each=2)
    with pytest.raises((NotebookError, RunError, ValueError), match=says):
        run_table(root, "smoke", **{"source": PHOTOS} | asked)
    assert not executed and not (root / "runs").exists()


def test_a_failure_is_reported_and_the_others_go_on(root, monkeypatch):
    calls = failing(monkeypatch, lambda name, asked: asked["method"] == "random")
    first, second = sorted(run_table(root, "smoke", PHOTOS, seeds=range(2)))
    assert first.startswith("random, seed 0: table1_run.ipynb") and "cell 3" in first
    assert second.startswith("random, seed 1: ")
    assert len(calls) == 2 * (len(TRAINED) - 1) + len(UNTRAINED)


def test_a_record_that_is_none_is_named(root, executed, monkeypatch):
    folder = root / table1.run_folder("runs", PHOTOS, "smoke", "random", 0)
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("{")

    def kept(source, page, parameters, **options):
        shutil.copy(source, page)  # as the run notebook, which would refuse it

    monkeypatch.setattr(papermill, "execute_notebook", kept)
    (failed,) = run_table(root, "smoke", PHOTOS, rows=["random"], seeds=[0])
    assert str(folder) in failed and "remove it and run again" in failed


def test_what_another_driver_runs_is_left_to_it(root, executed, monkeypatch):
    taken = root / table1.run_folder("runs", PHOTOS, "smoke", "random", 0)

    def other_driver(seconds):  # called while waiting for it
        assert names(executed) == [("method1", 0)]
        holding.__exit__(None, None, None)

    monkeypatch.setattr("qsel.book.jobs.time.sleep", other_driver)
    holding = locked(taken / "lock")
    assert holding.__enter__()
    assert run_table(root, "smoke", PHOTOS, rows=["random", "method1"], seeds=[0]) == []
    assert names(executed) == [("method1", 0), ("random", 0)]


def results(record: Path) -> dict:
    """What a run found: everything in its record but times."""
    found = json.loads(record.read_text())
    return {k: found[k] for k in ("config", "data", "metrics", "by_class", "curve")}


@pytest.mark.timeout(900)  # kernels start slowly on a busy machine
def test_killed_and_nothing_is_lost(root, monkeypatch):
    """SIGKILL, to the driver alone: no handler runs, and nobody stops its kernel."""
    paths = [str(Path(tiny.__file__).parent), str(Path(__file__).parents[2])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    settings = tiny.SETTINGS | dict(freeze="trunk", epochs="120")
    words = ["table1", "--data", PHOTOS, "--preset", "smoke", "--rows", "method1"]
    words += ["--seed", "0", *(f"--set={k}={v}" for k, v in settings.items())]
    process = subprocess.Popen([sys.executable, "-m", "qsel", *words])
    folder = root / table1.run_folder("runs", PHOTOS, "smoke", "method1", 0)

    def checkpoints():
        return {p.stat().st_mtime_ns for p in folder.glob("checkpoint*.pt")}

    while process.poll() is None and not checkpoints():
        time.sleep(0.05)
    process.kill()
    process.wait()
    time.sleep(1.5)
    stopped = checkpoints()
    time.sleep(0.5)
    assert stopped and checkpoints() == stopped  # no kernel goes on writing
    asked = dict(seeds=[0], rows=["method1"], settings=settings)
    assert run_table(root, "smoke", PHOTOS, **asked) == []
    table1.one_run(PHOTOS, "smoke", "method1", 0, "calm", settings, workers=0)
    calm = root / table1.run_folder("calm", PHOTOS, "smoke", "method1", 0)
    assert results(folder / "record.json") == results(calm / "record.json")
    left = {p.name for p in folder.iterdir()}
    assert left == {"lock", "record.json", "model.pt", RUN}
