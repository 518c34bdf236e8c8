"""Executing notebooks: strict parameters, failures that say where, nothing lost."""

import contextlib
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import papermill
import pytest
import tiny
from tiny_notebook import notebook, repository, without_kernel

from qsel.book.execute import RUN, NotebookError, check_parameters, execute, run_table
from qsel.data import load
from qsel.data.files import locked
from qsel.experiments.record import RunError
from qsel.experiments.row_names import QUADRUPLETS, QUOTED, UNTRAINED
from qsel.experiments.table1 import run_folder


@pytest.fixture
def executed(monkeypatch):
    """Papermill's calls, made without a kernel."""
    calls = []
    monkeypatch.setattr(papermill, "execute_notebook", without_kernel(calls))
    return calls


@pytest.fixture
def root(tmp_path):
    root = repository(tmp_path / "root")
    tiny.as_folder(root / "photos")
    return root


TRAINED = QUOTED + QUADRUPLETS  # what a table runs by default
PHOTOS = "photos"  # of the repository, where commands run


@pytest.fixture
def photos(root, monkeypatch):
    monkeypatch.chdir(root)
    return PHOTOS


# --- one notebook ----------------------------------------------------------------


def test_a_page_is_executed_and_tidied(tmp_path, capfd):
    source = notebook(tmp_path / "notebooks" / "page.ipynb")
    (tmp_path / "mark.txt").write_text("seen")
    page = tmp_path / "pages" / "page.ipynb"
    heard = []
    wanted = {"word": "hello", "number": 4}
    execute(source, page, wanted, tmp_path, watch=heard.append)
    done = nbformat.read(page, as_version=4)
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    assert [output["name"] for output in outputs] == ["stdout"]
    assert outputs[0]["text"] == "working\nseen hello 5\n"
    text = page.read_text(encoding="utf-8")
    for mark in ("papermill", "start_time", "iopub", "duration", str(tmp_path)):
        assert mark not in text
    assert "".join(heard) == "progress\n"
    assert "".join(capfd.readouterr()) == ""  # nothing of the kernel's own
    assert [p.name for p in page.parent.iterdir()] == ["page.ipynb"]
    # A failing cell is named, with its traceback; the page of before stays.
    with pytest.raises(NotebookError) as error:
        execute(source, page, {"word": "fail"}, tmp_path)
    message = str(error.value)
    assert "page.ipynb with {'word': 'fail'}, cell " in message
    assert 'if word == "fail":' in message and "ValueError: asked to" in message
    assert "\x1b" not in message
    assert page.read_text(encoding="utf-8") == text


def test_a_kernel_that_dies_takes_its_last_words_along(tmp_path):
    code = "import os\nos.write(2, b'out of luck')\nos._exit(3)"
    source = notebook(tmp_path / "page.ipynb", code, parameters="")
    with pytest.raises(NotebookError, match=r"(?s)page\.ipynb .*DeadKernel.*of luck"):
        execute(source, tmp_path / "out.ipynb", {}, tmp_path)
    assert not (tmp_path / "out.ipynb").exists()


@pytest.mark.parametrize(("gpu", "threads"), [("7", None), (None, "1")])
def test_each_kernel_has_its_gpu_or_its_thread_and_its_sockets(
    tmp_path, monkeypatch, gpu, threads
):
    code = """\
import os, json
from ipykernel.kernelapp import IPKernelApp
kernel = IPKernelApp.instance()
names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
found = {k: os.environ.get(k) for k in names} | {"transport": kernel.transport}
print(json.dumps(found | {"where": os.path.dirname(kernel.ip)}))
"""
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    source = notebook(tmp_path / "page.ipynb", code, parameters="")
    execute(source, tmp_path / "out.ipynb", {}, tmp_path, gpu=gpu)
    page = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    found = json.loads(page.cells[-1].outputs[0]["text"])
    where = Path(found.pop("where"))
    assert found == {
        "CUDA_VISIBLE_DEVICES": gpu,
        "OMP_NUM_THREADS": threads,
        "transport": "ipc",
    }
    assert where.name.startswith("qsel-") and not where.exists()  # swept up


def test_an_unknown_parameter_is_refused_before_anything_runs(tmp_path, executed):
    source = notebook(tmp_path / "page.ipynb")
    with pytest.raises(NotebookError) as error:
        execute(source, tmp_path / "out.ipynb", {"wrod": 1, "number": 2}, tmp_path)
    assert "declares no parameter 'wrod'" in str(error.value)
    assert "word, number" in str(error.value)
    bare = notebook(tmp_path / "bare.ipynb", parameters="")
    with pytest.raises(NotebookError, match="it has none"):
        execute(bare, tmp_path / "out.ipynb", {"word": 1}, tmp_path)
    assert not executed and not (tmp_path / "out.ipynb").exists()


@pytest.mark.parametrize(
    ("default", "right", "wrong", "kind"),
    [
        ("3", [4, -1], [True, 1.5, "4", None], "a whole number"),
        ("0.5", [1, 2.5], [True, "0.5"], "a number"),
        ('"laptop"  # or smoke', ["", "smoke"], [1, None, ["a"]], "text"),
        ("True", [False], [0, "yes"], "True or False"),
        ("[1, 2]", [[], ["a"]], [(1, 2), "12"], "list"),
        ("None", [None, 1, "a"], [], ""),
        ("2 + 2", [5, "a"], [], ""),  # computed: the kind is not known
    ],
)
def test_a_value_has_the_kind_of_its_default(tmp_path, default, right, wrong, kind):
    source = notebook(tmp_path / "page.ipynb", parameters=f"size = {default}")
    for value in right:
        check_parameters(source, {"size": value})
    for value in wrong:
        with pytest.raises(NotebookError) as error:
            check_parameters(source, {"size": value})
        assert f"size={value!r}; expected {kind}" in str(error.value)


def test_a_fresh_page_is_not_executed_again(tmp_path, executed):
    source, page = notebook(tmp_path / "page.ipynb"), tmp_path / "out" / "page.ipynb"

    def count(**parameters):
        execute(source, page, parameters, tmp_path)
        return len(executed)

    assert count(word="a") == count(word="a") == 1
    assert count(word="b") == count(word="b") == 2
    notebook(source, "print(1)")
    assert count(word="b") == 3
    page.unlink()
    assert count(word="b") == count(word="b") == 4


def test_a_fresh_page_takes_over_captions_and_tags(tmp_path, executed):
    source, page = notebook(tmp_path / "page.ipynb"), tmp_path / "out" / "page.ipynb"
    execute(source, page, {"word": "a"}, tmp_path)
    written = nbformat.read(source, as_version=4)
    written.cells[-1].metadata = {"tags": ["hide-output"], "mystnb": {"image": "new"}}
    nbformat.write(written, source)
    before = nbformat.read(page, as_version=4)
    execute(source, page, {"word": "a"}, tmp_path)
    after = nbformat.read(page, as_version=4)
    assert len(executed) == 1
    assert after.cells[-1].metadata == written.cells[-1].metadata
    before.cells[-1].metadata = after.cells[-1].metadata
    assert after == before


def test_a_record_makes_the_page_that_shows_it_stale(tmp_path, executed):
    source, page = notebook(tmp_path / "page.ipynb"), tmp_path / "out.ipynb"
    record = tmp_path / "record.json"
    for i, content in enumerate(["one", "one", "two"]):
        record.write_text(content)
        execute(source, page, {}, tmp_path, [record])
        assert len(executed) == [1, 1, 2][i]


def test_no_path_of_the_machine_in_a_page(tmp_path, root, executed):
    declared = 'data = ""\nruns = ""'
    source = notebook(tmp_path / "page.ipynb", parameters=declared)
    page = tmp_path / "out.ipynb"
    wanted = {"data": str(root / "photos"), "runs": str(tmp_path / "all")}
    for _ in range(2):
        execute(source, page, wanted, tmp_path)
        text = page.read_text(encoding="utf-8")
        assert str(tmp_path) not in text and "photos" in text
    assert len(executed) == 1


# --- the runs of Table 1 ---------------------------------------------------------


def names(executed):
    return [(p["method"], p["seed"]) for _, p in executed]


def test_every_row_and_seed_once(root, photos, executed):
    assert run_table(root, "smoke", photos, seeds=range(2)) == []
    trained = [(row, seed) for seed in (0, 1) for row in TRAINED]
    assert sorted(names(executed)) == sorted([(u, 0) for u in UNTRAINED] + trained)
    # Those without training first: they fill the caches.
    assert names(executed)[: len(UNTRAINED)] == [(u, 0) for u in UNTRAINED]
    count = len(executed)
    assert run_table(root, "smoke", photos, seeds=range(2)) == []
    assert len(executed) == count
    run = root / run_folder("runs", photos, "smoke", "random", 1)
    (run / "record.json").unlink()
    assert run_table(root, "smoke", photos, seeds=range(2)) == []
    assert names(executed[count:]) == [("random", 1)]


def test_some_rows_and_seeds(root, photos, executed):
    run_table(root, "smoke", photos, seeds=[3], rows=["method1", "start"])
    assert names(executed) == [("method1", 3)]
    run_table(root, "smoke", photos, rows=["start", "random"])  # the preset's seeds
    first, *others = names(executed[1:])
    assert first == ("start", 0)  # alone; the others side by side, in any order
    assert sorted(others) == [("random", 0), ("random", 1)]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (
            dict(rows=["method3"]),
            "no row 'method3'; expected some of raw_pixels, start",
        ),
        (dict(rows=["start"], seeds=[1]), "rows without training have seed 0 alone"),
        (dict(settings={"bacth": "3"}), "unknown setting 'bacth'"),
        (dict(seeds=[-1]), "seed=-1"),
        (dict(seeds=["1"]), "seed='1'; expected a whole number"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(root, photos, executed, asked, says):
    with pytest.raises((NotebookError, ValueError), match=says):
        run_table(root, "smoke", photos, **asked)
    assert not executed and not (root / "runs").exists()


def test_too_few_test_images_are_told_before_anything_runs(root, executed):
    tiny.as_folder(root / "few", fine_classes=3, each=2)
    split = load(root / "few")
    few = len(split.test)
    assert few <= 8
    with pytest.raises(RunError, match=f"test part has {few} images; R@8 needs 9"):
        run_table(root, "smoke", str(root / "few"))
    assert not executed


def test_a_folder_that_cannot_be_written_to(root, photos, executed, monkeypatch):
    (root / "taken").write_text("")
    monkeypatch.setattr("qsel.data.load", None)  # said before
    with pytest.raises(RunError, match=r"cannot write to .*taken.*--runs"):
        run_table(root, "smoke", photos, runs="taken")
    assert not executed


def test_a_failure_is_reported_and_the_others_go_on(root, photos, monkeypatch):
    calls = []
    work = without_kernel(calls)

    def fail(source, page, parameters, **options):
        if parameters["method"] == "random":
            raise papermill.exceptions.PapermillExecutionError(
                1, 3, "1 / 0", "ZeroDivisionError", "division by zero", ["in cell 3"]
            )
        work(source, page, parameters, **options)

    monkeypatch.setattr(papermill, "execute_notebook", fail)
    first, second = sorted(run_table(root, "smoke", photos, seeds=range(2)))
    assert first.startswith("random, seed 0: table1_run.ipynb") and "cell 3" in first
    assert second.startswith("random, seed 1: ")
    assert len(calls) == 2 * (len(TRAINED) - 1) + len(UNTRAINED)


def test_a_record_that_is_none_is_named(root, photos, executed, monkeypatch):
    run_table(root, "smoke", photos, rows=["random"], seeds=[0])
    record = root / run_folder("runs", photos, "smoke", "random", 0) / "record.json"
    record.write_text("{")
    executed.clear()

    def kept(source, page, parameters, **options):
        shutil.copy(source, page)  # as the run notebook, which would refuse it

    monkeypatch.setattr(papermill, "execute_notebook", kept)
    (failed,) = run_table(root, "smoke", photos, rows=["random"], seeds=[0])
    assert str(record) in failed and "remove it and run again" in failed


def test_what_another_driver_runs_is_left_to_it(root, photos, executed, monkeypatch):
    taken = root / run_folder("runs", photos, "smoke", "random", 0)

    def other_driver(seconds):  # called while waiting for it
        assert names(executed) == [("method1", 0)]
        holding.__exit__(None, None, None)

    monkeypatch.setattr("qsel.book.jobs.time.sleep", other_driver)
    holding = locked(taken / "lock")
    assert holding.__enter__()
    assert run_table(root, "smoke", photos, rows=["random", "method1"], seeds=[0]) == []
    assert names(executed) == [("method1", 0), ("random", 0)]


# --- killed at any moment --------------------------------------------------------


def driver(root: Path, runs: str) -> subprocess.Popen:
    """``qsel table1`` of two rows on tiny data, as a program of its own."""
    settings = tiny.SETTINGS | dict(freeze="trunk", epochs="300")
    words = ["table1", "--data", PHOTOS, "--preset", "smoke", "--runs", runs]
    words += ["--rows", "random,method1", "--seed", "0", "--jobs", "2"]
    words += [f"--set={name}={value}" for name, value in settings.items()]
    main = "from qsel.cli import main; main()"
    with (root / f"{runs}.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-c", main, *words], cwd=root, stdout=log, stderr=log
        )


def checkpoints(runs: Path) -> set[tuple[str, int]]:
    found = set()
    for path in runs.rglob("checkpoint*.pt"):
        with contextlib.suppress(FileNotFoundError):  # replaced, or no longer needed
            found.add((path.parent.name, path.stat().st_mtime_ns))
    return found


def results(runs: Path) -> dict[str, dict]:
    """What the runs found: everything in the records but times."""
    records = {
        p.parent.name: json.loads(p.read_text()) for p in runs.rglob("record.json")
    }
    kept = ("config", "data", "metrics", "by_class", "curve")
    return {name: {k: r[k] for k in kept} for name, r in records.items()}


@pytest.mark.timeout(900)  # kernels start slowly on a busy machine
def test_killed_at_random_and_nothing_is_lost(root, monkeypatch):
    """SIGKILL, to the driver alone: no handler runs, and nobody stops its kernels."""
    paths = [str(Path(tiny.__file__).parent), str(Path(__file__).parents[2])]
    monkeypatch.setenv("PYTHONPATH", ":".join(paths))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    runs = root / "killed"
    undisturbed = driver(root, "calm")
    moments = random.Random(0)
    for kill in range(3):
        before = checkpoints(runs)
        process = driver(root, "killed")
        while kill and process.poll() is None and checkpoints(runs) <= before:
            time.sleep(0.05)  # the first kill comes early, the others in an epoch
        time.sleep(moments.uniform(0, 1))
        process.kill()
        process.wait()
        time.sleep(1.5)
        stopped = checkpoints(runs)
        time.sleep(0.5)
        assert checkpoints(runs) == stopped  # no kernel goes on writing
        assert bool(stopped) == bool(kill)  # there is something to go on from
    last = driver(root, "killed")
    for process, name in ((undisturbed, "calm"), (last, "killed")):
        assert process.wait() == 0, (root / f"{name}.log").read_text()
    calm, killed = results(root / "calm"), results(runs)
    assert set(calm) == {"random-seed0", "method1-seed0"}
    assert killed == calm
    left = {p.name for p in runs.rglob("*") if p.is_file()}
    assert left == {"lock", "record.json", "model.pt", RUN}
