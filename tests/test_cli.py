"""The command line, as a user meets it."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image, ImageOps
from tiny_notebook import notebook
from torch import nn
from typer.testing import CliRunner

import qsel as qsel_package
from qsel import cli, selection
from qsel.data import load
from qsel.data.files import locked
from qsel.experiments import row_names, tuning
from qsel.experiments import rows as methods
from qsel.experiments.record import Record

ROOT = Path(__file__).parents[1]
COMMANDS = ("data", "train", "evaluate", "select", "table1", "ablations", "tune")
COMMANDS += ("repeat", "book", "colab", "exercises")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return str(tiny.as_folder(tmp_path_factory.mktemp("data") / "photos"))


@pytest.fixture
def qsel(monkeypatch, capfd):
    """Call the command line; returns exit status, stdout and stderr."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["qsel", *map(str, words)])
        capfd.readouterr()
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code or 0
        out, err = capfd.readouterr()
        return status, out, err

    return call


def tiny_settings(**changes):
    settings = tiny.SETTINGS | dict(freeze="trunk") | changes
    return ["--preset", "smoke", *(f"--set={k}={v}" for k, v in settings.items())]


@pytest.fixture(scope="module")
def trained_once(photos, tmp_path_factory):
    """A finished run of a row that is tested by cosine."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    words = ["train", "--data", photos, "--method", "n_pairs", "--seed", "3"]
    words += ["--out", str(folder), *tiny_settings()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QSEL_CACHE", str(folder.parent))
        done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    return folder, done.stdout


@pytest.fixture
def run(trained_once, tmp_path):
    return shutil.copytree(trained_once[0], tmp_path / "run")


def refused(outcome, *says):
    """Exit status 2 and one line on stderr that says why."""
    status, _, err = outcome
    assert status == 2, outcome
    assert "Traceback" not in err
    # Progress bars may stand above it: they write over their own line.
    lines = [line for line in err.split("\n") if line.strip() and "\r" not in line]
    assert len(lines) == 1 and lines[0].startswith("qsel: "), err
    for text in says:
        assert text in lines[0]


# --- help and words --------------------------------------------------------------


def test_help_names_every_command_with_an_example():
    shown = CliRunner().invoke(cli.app, ["--help"])
    named = {c.name or c.callback.__name__ for c in cli.app.registered_commands}
    assert named == set(COMMANDS)
    assert all(command in shown.output for command in COMMANDS)
    for command in COMMANDS:
        shown = CliRunner().invoke(cli.app, [command, "--help"])
        assert shown.exit_code == 0, shown.output
        assert f"qsel {command}" in shown.output and "Example" in shown.output


WITHOUT_TORCH = """
import sys, qsel
from typer.testing import CliRunner
from qsel import cli
for command in [None, *cli.app.registered_commands]:
    words = [command.name or command.callback.__name__] if command else []
    shown = CliRunner().invoke(cli.app, [*words, "--help"])
    assert shown.exit_code == 0, shown.output
for module in ("torch", "numpy", "pandas", "sklearn", "matplotlib", "PIL"):
    assert module not in sys.modules, module
cli.main()
"""


def test_help_imports_nothing_that_computes_and_is_printed_everywhere():
    """torch alone takes seconds; and no terminal lacks letters so that it fails."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "train", "--help"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert b"-m qsel train ?" in b" ".join(done.stdout.split())


def test_the_package_imports_its_names_when_they_are_used():
    assert set(qsel_package.__all__) <= set(dir(qsel_package))
    assert qsel_package.select_quadruplets is selection.select_quadruplets
    assert qsel_package.losses.__name__ == "qsel.losses"
    assert not hasattr(qsel_package, "absent")


def test_help_names_every_method(qsel):
    listed = re.sub(r"[\s│]+", "", qsel("train", "--help")[1])
    assert all(name in listed for name in row_names.ALL)
    assert set(row_names.ALL) == set(methods.TITLES)
    assert row_names.QUADRUPLETS == methods.QUADRUPLETS
    assert set(row_names.UNTRAINED) == set(methods.UNTRAINED)
    assert set(row_names.QUADRUPLETS) == set(selection.METHODS)


def test_a_missing_package_and_what_brings_it(qsel, monkeypatch):
    def lacking(source):
        raise ModuleNotFoundError("No module named 'umap'", name="umap")

    monkeypatch.setattr("qsel.data.load", lacking)
    refused(qsel("data"), "the package umap is missing", "pip install 'qsel[book,")


def test_usage_errors_have_no_traceback(qsel):
    for words in (["trane"], ["train", "--seed", "x"], ["select", "--no"]):
        status, _, err = qsel(*words)
        assert status == 2 and "Traceback" not in err and "Error" in err
    for words in (["table1", "--rows", ""], ["evaluate", ""]):
        refused(qsel(*words), "is empty")


# --- data ------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".png", ".pdf"])
def test_describes_data(qsel, photos, tmp_path, ending):
    sheet = tmp_path / f"sheet{ending}"
    status, out, err = qsel("data", "--data", photos, "--check", "--sheet", sheet)
    assert status == 0, err
    assert "train: 24 images, 6 fine and 3 coarse classes" in out
    assert "24 training images can be a reference" in out
    assert "every image can be decoded" in out and sheet.stat().st_size > 1000


def test_data_tells_what_is_passed_over_and_what_gives_no_reference(qsel, tmp_path):
    root = tiny.as_folder(tmp_path / "photos")
    tests = ["c0/f3", "c1/f4", "c2/f5", "c2/f8"]
    (root / "unseen.txt").write_text("\n".join(tests))
    (root / "Thumbs.db").write_text("x")
    for name in ("c0/f0", "c0/f6", "c2/f5"):
        for i in range(1, 4):
            (root / name / f"{i}.png").unlink()
    (root / "c1" / "f1" / "0.png").write_bytes(b"nothing")
    status, out, err = qsel("data", "--data", f"{root}?test=unseen.txt&skip_bad=1")
    assert status == 0, err
    lines = [line.strip() for line in out.splitlines()]
    assert (
        "never: 2 fine classes, each of which has a single image, so no P⁺: "
        "'c0/f0', 'c0/f6'" in lines
    )
    said = "1 test image is alone in its class, so that a search cannot find another"
    assert f"{said}: 'c2/f5'" in lines
    assert "1 file that is no image was passed over: Thumbs.db" in lines
    assert lines[-2:] == ["unreadable images that are left out (1):", "c1/f1/0.png"]


def test_all_broken_images_of_both_parts_are_named_at_once(qsel, tmp_path):
    root = tiny.as_folder(tmp_path / "photos")
    broken = sorted(root.glob("*/*/0.png"))
    for path in broken:
        path.write_bytes(b"nothing")
    for words in (["data", "--check"], ["train", "--out", tmp_path / "run"]):
        settings = tiny_settings() if "train" in words else []
        status, _, err = qsel(*words, "--data", root, *settings)
        assert status == 2 and f"{len(broken)} of 48 images cannot be used" in err
        assert all(f"{path}: this is not an image" in err for path in broken)
    assert not (tmp_path / "run").exists()
    (tmp_path / "empty").mkdir()
    for folder in ("absent", "empty"):
        refused(qsel("data", "--data", tmp_path / folder), folder)


def test_a_bad_sheet_is_said_before_the_data_is_read(qsel, tmp_path, monkeypatch):
    monkeypatch.setattr("qsel.data.load", None)
    (tmp_path / "taken").touch()
    (tmp_path / "folder.png").mkdir()
    for sheet, says in {
        "absent/sheet.png": "there is no folder",
        "sheet.doc": "expected a file ending in .png",
        "folder.png": "is a folder",
        "taken/sheet.png": "taken",
    }.items():
        refused(qsel("data", "--sheet", tmp_path / sheet), sheet.split("/")[0], says)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write all
    refused(qsel("data", "--sheet", tmp_path / "a.png"), "a.png", "no permission")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.png", "taken"]


# --- train -----------------------------------------------------------------------


def test_train_and_evaluate(qsel, photos, run, trained_once, tmp_path):
    first = trained_once[1]
    metrics = re.search(r"trained +(.*)", first).group(1)
    assert re.match(r"R@1 \d+\.\d\d  R@2", metrics)
    text = (run / "record.json").read_text(encoding="utf-8")
    record = json.loads(text)
    assert record["config"]["method"] == "n_pairs" and record["config"]["seed"] == 3
    assert str(Path(photos).parent) not in text
    assert record["command"].startswith("qsel train --data photos --preset smoke")
    # Again: nothing is trained, the same is printed.
    words = ["train", "--data", photos, "--method", "n_pairs", "--seed", "3"]
    words += ["--out", run]
    written = (run / "record.json").stat().st_mtime_ns
    again = qsel(*words, *tiny_settings())[1]
    assert again.splitlines()[0] == first.splitlines()[0]
    assert (run / "record.json").stat().st_mtime_ns == written
    status, out, err = qsel("evaluate", run, "--data", photos, "--trust")
    assert status == 0 and metrics in out, err
    # Another run does not take its place: other settings, or other images of equal
    # names and sizes.
    refused(qsel(*words, *tiny_settings(batch=5)), "holds another run", "run")
    other = shutil.copytree(photos, tmp_path / "photos")
    for path in other.glob("*/*/*.png"):
        with Image.open(path) as image:
            ImageOps.invert(image).save(path)
    words[2] = other
    refused(qsel(*words, *tiny_settings()), "holds another run")


def test_a_record_names_the_images_that_were_left_out(qsel, tmp_path):
    root = tiny.as_folder(tmp_path / "photos")
    (root / "c1" / "f1" / "0.png").write_bytes(b"nothing")
    words = ["--data", f"{root}?skip_bad=1", *tiny_settings(epochs=1)]
    status, _, err = qsel("train", *words, "--out", tmp_path / "run")
    assert status == 0, err
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["data"]["skipped"] == ["c1/f1/0.png"]
    assert record["command"].startswith("qsel train --data 'photos?skip_bad=1'")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--preset", "huge"], ["no preset 'huge'", "smoke"]),
        (["--method", "method3"], ["method3", *row_names.ALL]),
        (["--set", "batch"], ["'batch'", "name=value"]),
        (["--set", "batch=3", "--set", "batch=4"], ["batch=3", "batch=4", "once"]),
        (["--set", "learning_rate=nan"], ["learning_rate=nan", "from 0"]),
        (["--set", "bacth=3"], ["unknown setting 'bacth'"]),
        (["--set", "batch=many"], ["batch='many'", "whole number"]),
        (["--set", "trunk=resnet19"], ["resnet19", "torchvision"]),
        (["--set", "trunk=no.such:thing"], ["no.such:thing"]),
        (["--set", "weights=absent.pt"], ["absent.pt"]),
        (["--set", "weights=imagenet", "--set", "trunk=small"], ["weights=none"]),
        (["--data", "absent"], ["'absent'", "synthcars"]),
        (["--data", "synthcars?colour=red"], ["colour"]),
        (["--seed", str(2**40)], ["seed"]),
    ],
)
def test_train_refuses_in_one_line(qsel, photos, tmp_path, words, says):
    if "--data" not in words:
        words = ["--data", photos, *words]
    named = {word.partition("=")[0] for word in words}
    known = [w for w in tiny_settings()[2:] if w.split("=")[1] not in named]
    known += [] if "--preset" in words else ["--preset", "smoke"]
    refused(qsel("train", "--out", tmp_path / "run", *known, *words), *says)
    assert not (tmp_path / "run").exists()


def test_two_trainings_do_not_share_a_folder(qsel, photos, tmp_path):
    words = ["train", "--data", photos, "--out", tmp_path / "run", *tiny_settings()]
    with locked(tmp_path / "run" / "lock"):
        refused(qsel(*words), "another program", str(tmp_path / "run"))
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["lock"]


def test_every_wrong_setting_is_named_before_the_data_is_loaded(qsel, monkeypatch):
    monkeypatch.setattr("qsel.data.load", lambda source: pytest.fail("loaded"))
    monkeypatch.chdir(ROOT)
    wrong = ["--set", "batch=0", "--set", "bacth=3", "--set", "dropout=x"]
    says = ["batch=0", "'bacth'", "dropout='x'"]
    for words in (["train"], ["table1"], ["tune", "--out", "a.json"], ["ablations"]):
        refused(qsel(*words, "--preset", "laptop", *wrong), *says)
    refused(qsel("train", "--set", "a", "--set", "seed=3"), "--set 'a'", "--set seed=3")


@pytest.mark.parametrize("place", ["taken", "taken/below"])
def test_a_place_that_cannot_be_written_to_is_said_before_the_data_is_loaded(
    qsel, tmp_path, monkeypatch, place
):
    (tmp_path / "taken").write_text("kept")
    monkeypatch.setattr("qsel.data.load", lambda source: pytest.fail("loaded"))
    monkeypatch.chdir(ROOT)
    out = tmp_path / place
    for words in (["train", "--out"], ["table1", "--runs"], ["ablations", "--runs"]):
        outcome = qsel(*words, out, "--preset", "laptop")
        refused(outcome, "cannot write to", words[1])
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


# --- evaluate, repeat, select ----------------------------------------------------


def test_evaluate_refuses_classes_that_were_trained_on(qsel, photos, run):
    recorded = json.loads((run / "record.json").read_text(encoding="utf-8"))
    trained = set(recorded["data"]["trained on"])
    assert len(trained) == 6 and trained < {f"c{k % 3}/f{k}" for k in range(12)}
    evaluate = ["evaluate", run, "--trust", "--data"]
    other = f"{photos}?seed=1"
    tested = set(load(other).test.hierarchy.fine_names)
    assert 0 < len(tested & trained) < 6
    says = f"{len(tested & trained)} of the 6 classes to be tested were trained on"
    refused(qsel(*evaluate, other), says, "--seen")
    status, out, err = qsel(*evaluate, other, "--seen")
    assert status == 0 and "R@1" in out and says in out, err
    # Nine training classes are not six.
    more = f"{photos}?test_fraction=0.25"
    says = "model.pt does not fit", "photos", "(9, 8)"
    refused(qsel(*evaluate, more, "--seen"), *says)


def test_evaluate_calls_no_function_of_a_record_unasked(qsel, photos, run, monkeypatch):
    called = []
    real = tiny.trunk
    monkeypatch.setattr(tiny, "trunk", lambda: called.append(1) or real())
    evaluate = ["evaluate", run, "--data", photos]
    refused(qsel(*evaluate), "record.json names the function tiny:trunk", "--trust")
    refused(qsel(*evaluate, "--set", "batch=3"), "tiny:trunk", "--trust")
    assert not called
    # Who names it in the command has asked for it.
    assert qsel(*evaluate, "--set", "trunk=tiny:trunk")[0] == 0
    assert len(called) == 1


def test_evaluate_names_the_setting_that_does_not_fit(
    qsel, photos, run, tmp_path, monkeypatch
):
    evaluate = ["--trust", "--data", photos, "--set"]
    for setting in ("embedding_dim=4", "freeze=none", "trunk=small"):
        refused(qsel("evaluate", run, *evaluate, setting), "model.pt does not fit")
    # Some trunks take images of any size; where features depend on it, it is to blame.
    assert qsel("evaluate", run, *evaluate, "image_size=8")[0] == 0
    monkeypatch.setattr(
        tiny, "trunk", lambda: nn.Sequential(nn.AvgPool2d(4), nn.Flatten())
    )
    words = ["train", "--data", photos, "--out", tmp_path / "one"]
    assert qsel(*words, *tiny_settings(epochs=1))[0] == 0
    says = "model.pt does not fit"
    refused(qsel("evaluate", tmp_path / "one", *evaluate, "image_size=8"), says)


def test_evaluate_of_files_that_are_something_else(qsel, photos, run, tmp_path):
    evaluate = ["evaluate", run, "--trust", "--data", photos]
    for content in (b"", pickle.dumps(print, 2)):
        (run / "model.pt").write_bytes(content)
        refused(qsel(*evaluate), "model.pt is no network")
    path = run / "record.json"
    recorded = json.loads(path.read_text(encoding="utf-8"))
    for config in ({"colour": "red"}, {"trunk": None}):
        path.write_text(json.dumps(recorded | {"config": config}), encoding="utf-8")
        refused(qsel(*evaluate), "record.json holds settings", *config)
    path.write_text(json.dumps(recorded | {"command": "qsel"}), encoding="utf-8")
    refused(qsel("evaluate", run, "--trust"), "was trained on", "--data")
    path.write_text("{}")
    refused(qsel(*evaluate), "record.json", "remove it")
    refused(qsel("evaluate", tmp_path / "absent"), "no run record at", "absent")


def test_a_record_is_repeated(qsel, photos, run, tmp_path, monkeypatch):
    record = Record.load(run / "record.json")
    monkeypatch.setattr("qsel.experiments.repeat.repeat", lambda *arguments: record)
    status, out, _ = qsel("repeat", run / "record.json", "--data", photos)
    recorded, again = out.splitlines()
    assert status == 0 and "R@1" in again
    assert recorded.split()[1:] == again.split()[1:]
    monkeypatch.undo()
    refused(qsel("repeat", tmp_path / "none.json"), "none.json")


def test_select(qsel, tmp_path):
    source, out = tmp_path / "in.npz", tmp_path / "out.csv"
    fine = np.repeat(["a", "b", "c"], 4)
    coarse = np.repeat(["x", "x", "y"], 4)
    embeddings = np.random.default_rng(0).normal(size=(12, 3))
    np.savez(source, embeddings=embeddings, fine=fine, coarse=coarse)
    status, shown, err = qsel("select", source, "--method", "method1", "--out", out)
    assert status == 0, err
    assert "8 quadruplets" in shown and "4 samples can never be a reference" in shown
    header, *rows = out.read_text().splitlines()
    assert header == "reference,positive_positive,positive_negative,negative"
    assert len(rows) == 8
    refused(qsel("select", tmp_path / "no.npz", "--out", out), "no.npz")
    refused(qsel("select", source, "--out", tmp_path / "out.txt"), "out.txt")
    refused(qsel("select", source, "--out", out, "--method", "best"), "best")
    embeddings[3] = np.nan
    np.savez(source, embeddings=embeddings, fine=fine, coarse=coarse)
    refused(qsel("select", source, "--out", out), "3")
    assert len(out.read_text().splitlines()) == 9


# --- table1 and tune -------------------------------------------------------------


def test_table_passes_on_what_was_asked_for(qsel, photos, monkeypatch):
    asked, failed = {}, []

    def run_table(root, preset, data, runs, **options):
        asked.update(options, runs=runs)
        return failed

    monkeypatch.setattr("qsel.book.execute.run_table", run_table)
    words = ["table1", "--data", photos, "--preset", "smoke"]
    all_of_them = ["--runs", "there", "--rows", "random, method1", "--seed", "3"]
    assert qsel(*words, *all_of_them, "--jobs", "2", "--set", "batch=4")[0] == 0
    assert asked == {
        "runs": "there",
        "rows": ["random", "method1"],
        "seeds": [3],
        "at_once": 2,
        "settings": {"batch": "4"},
    }
    refused(qsel(*words, "--seed", "3", "--seeds", "2"), "--seed 3 and --seeds 2")
    # The table first, then what failed; the exit status says so.
    failed.append("random, seed 0: table1_run.ipynb with {}, cell 3:\nValueError: no")
    status, out, err = qsel(*words, "--seeds", "2")
    assert list(asked["seeds"]) == [0, 1] and asked["rows"] is None
    assert status == 1 and "not run" in out and "Proposed Method 2" in out
    assert err.startswith("qsel: 1 failed; the reasons") and "random, seed 0" in err


def test_tune_refuses_before_the_data_is_read(qsel, tmp_path, monkeypatch):
    monkeypatch.setattr("qsel.data.load", None)
    (tmp_path / "taken").touch()
    good = ["tune", "--out", tmp_path / "a.json"]
    refused(qsel("tune", "--out", tmp_path / "taken" / "a"), "taken is a file")
    refused(qsel(*good, "--row", "method3"), "method3", *row_names.RIVALS)
    says = "preset 'huge' has no search space", "laptop"
    refused(qsel(*good, "--preset", "huge"), *says)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_tune_says_what_was_held_out_what_won_and_which_range_to_widen(
    qsel, tmp_path, monkeypatch
):
    monkeypatch.setitem(tuning.SPACES, "smoke", {"learning_rate": (0.009, 1)})
    photos = tiny.as_folder(tmp_path / "photos", each=6)
    words = ["tune", "--data", f"{photos}?test_fraction=0.25", "--row", "semi_hard"]
    words += [*tiny_settings(freeze="none", epochs=1), "--out", tmp_path / "a.json"]
    status, out, _ = qsel(*words, "--trials", "1")
    assert status == 0
    lines = out.splitlines()
    assert lines[0].startswith("held out: of each coarse class 0.25")
    assert lines[1].startswith("untrained features: R@1 ")
    assert lines[2].startswith("semi_hard: {'learning_rate': 0.01, 'margin': None, ")
    assert lines[3].startswith("warning: semi_hard won with learning_rate=0.01, near ")
    assert "the smallest of 0.009 to 1; widen" in lines[3] and len(lines) == 4
    assert qsel(*words, "--trials", "1")[1] == out
    status, _, err = qsel(*words, "--take", tmp_path / "none.json")
    assert status == 2 and "none.json" in err


# --- the book --------------------------------------------------------------------


@pytest.mark.parametrize("command", ["table1", "book"])
def test_book_and_table_refuse_before_anything_runs(
    qsel, photos, tmp_path, monkeypatch, command
):
    monkeypatch.setattr("papermill.execute_notebook", None)
    monkeypatch.chdir(tmp_path)
    refused(qsel(command, "--data", photos, "--preset", "smoke"), "root")
    monkeypatch.chdir(ROOT)
    refused(qsel(command, "--preset", "huge"), "no preset 'huge'", "smoke")
    refused(qsel(command, "--data", "absent"), "'absent'", "synthcars")


def test_book_refuses_what_excludes_each_other(qsel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(qsel("book", "--stored", "--store"), "--store and --stored exclude each")
    refused(qsel("book", "--check", "--pdf"), "--check and --pdf exclude")
    refused(qsel("book", "--stored"), "run from the root of the repository")


def test_the_book_has_a_hole_where_a_notebook_failed(qsel, tmp_path, monkeypatch):
    """It is rendered all the same, and the exit status says so."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "_toc.yml").touch()
    settings = "html: {}\nsphinx: {config: {html_theme_options: {}}}"
    (tmp_path / "_config.yml").write_text(settings)
    rendered = []

    def render(source, root, strict, config):
        rendered.append(config)
        return tmp_path

    failed = ["chapter: chapter.ipynb with {}, cell 3:\nValueError: no"]
    monkeypatch.setattr("qsel.book.build.render", render)
    monkeypatch.setattr("qsel.book.build.execute_all", lambda *arguments: failed)
    refused(qsel("book", "--repository", "a/b"), "https://github.com/OWNER/NAME")
    address = "https://github.com/a/b"
    status, out, err = qsel("book", "--store", "--repository", address)
    assert status == 1 and "index.html" in out
    assert rendered == [tmp_path / "_build" / "_config.yml"]
    assert "chapter: chapter.ipynb" in err and "nothing was stored" in err


def test_book_check_names_stale_pages(qsel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = notebook(tmp_path / "notebooks" / "page.ipynb", "1", parameters="")
    (tmp_path / "_toc.yml").touch()
    status, _, err = qsel("book", "--check")
    assert status == 1 and "notebooks/page.ipynb: never executed" in err
    page.unlink()
    status, out, _ = qsel("book", "--check")
    assert status == 0 and "every page" in out


def test_writes_notebooks_for_a_class(qsel, tmp_path, monkeypatch):
    import class_notebooks

    monkeypatch.chdir(tmp_path)
    refused(qsel("exercises"), "run from the root of the repository")
    pair = class_notebooks.PAIR
    class_notebooks.chapter(tmp_path / "notebooks" / "a.ipynb", *pair)
    notebook(tmp_path / "notebooks" / "b.ipynb")
    status, out, err = qsel("exercises", "--out", "class")
    assert status == 0, err
    assert "a.ipynb: exercises 2a" in out
    assert not (tmp_path / "class" / "b.ipynb").exists()  # it has no exercises
    (tmp_path / "class" / "a.ipynb").write_text("mine")
    refused(qsel("exercises", "--out", "class"), "a.ipynb is there and has other")
