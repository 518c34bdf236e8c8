"""The command line, as a user meets it."""

import json
import os
import pickle
import re
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

from qsel import cli, selection
from qsel.cli import terminal
from qsel.data import load
from qsel.data.contact import SHEETS, save_sheet
from qsel.data.files import locked
from qsel.experiments import row_names, tuning
from qsel.experiments import rows as methods
from qsel.experiments.record import Record

ROOT = Path(__file__).parents[1]
COMMANDS = ("data", "train", "evaluate", "select", "table1", "book")
COMMANDS += ("colab", "exercises", "repeat")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QSEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")


@pytest.fixture
def photos(tmp_path):
    return str(tiny.as_folder(tmp_path / "photos"))


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
    return [f"--set={name}={value}" for name, value in settings.items()]


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


def test_help_names_every_command():
    shown = CliRunner().invoke(cli.app, ["--help"])
    assert shown.exit_code == 0
    assert all(command in shown.output for command in COMMANDS)
    assert {c.name or c.callback.__name__ for c in cli.app.registered_commands} >= set(
        COMMANDS
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(command):
    shown = CliRunner().invoke(cli.app, [command, "--help"])
    assert shown.exit_code == 0, shown.output
    assert f"qsel {command}" in shown.output and "Example" in shown.output


SAYS_WHAT_HELP_IMPORTS = """
import sys
from typer.testing import CliRunner
from qsel import cli
for command in [[], *([c] for c in sys.argv[1:])]:
    shown = CliRunner().invoke(cli.app, [*command, "--help"])
    assert shown.exit_code == 0, shown.output
for module in ("torch", "numpy", "pandas", "sklearn", "matplotlib", "PIL"):
    assert module not in sys.modules, module
"""


def in_python(*words, **environment):
    """What a new Python process writes, as bytes."""
    return subprocess.run(
        [sys.executable, *words], env=os.environ | environment, capture_output=True
    )


def test_help_imports_nothing_that_computes():
    """torch alone takes seconds."""
    done = in_python("-c", SAYS_WHAT_HELP_IMPORTS, *COMMANDS, "ablations", "tune")
    assert done.returncode == 0, done.stderr.decode()


def test_the_package_imports_its_names_when_they_are_used():
    program = """
import sys, qsel
assert "torch" not in sys.modules
assert set(qsel.__all__) <= set(dir(qsel))
assert not hasattr(qsel, "absent")
from qsel import *
from qsel.selection import select_quadruplets as same
assert select_quadruplets is same is qsel.select_quadruplets
assert losses.__name__ == "qsel.losses" and nmi and Hierarchy and recall_at_k
"""
    done = in_python("-c", program)
    assert done.returncode == 0, done.stderr.decode()


def test_help_names_every_method(qsel):
    listed = re.sub(r"[\s│]+", "", qsel("train", "--help")[1])
    assert all(name in listed for name in row_names.ALL)
    assert set(row_names.ALL) == set(methods.TITLES)
    assert row_names.QUADRUPLETS == methods.QUADRUPLETS
    assert set(row_names.UNTRAINED) == set(methods.UNTRAINED)
    assert set(row_names.QUADRUPLETS) == set(selection.METHODS)


def test_a_terminal_without_the_letters(tmp_path):
    """Plain letters in their place; one with the letters shows them."""
    for i, fine in enumerate(["Koç/a", "Koç/b", "Koç/c", "Koç/d", "lone⁻/ü"]):
        (tmp_path / "photos" / fine).mkdir(parents=True)
        for k in range(2):
            picture = Image.new("RGB", (9, 9), (i, k, 0))
            picture.save(tmp_path / "photos" / fine / f"{k}.png")
    words = "-m", "qsel", "data", "--data", str(tmp_path / "photos")
    done = in_python(*words, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr.decode()
    told = done.stdout.decode("ascii")
    assert "never: 'lone-/u'" in told and "so no P-" in told, told
    done = in_python(*words, PYTHONIOENCODING="utf-8")
    assert "so no P⁻" in done.stdout.decode("utf-8")
    assert terminal.plain(done.stdout.decode("utf-8")) == told
    words = "-m", "qsel", "data", "--data", "Škoda"
    done = in_python(*words, PYTHONIOENCODING="ascii")
    assert done.returncode == 2 and b"'Skoda' is neither" in done.stderr
    words = "-m", "qsel", "train", "--help"
    assert in_python(*words, PYTHONIOENCODING="ascii").returncode == 0


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("papermill", "pip install 'qsel[book]'"),
        ("bs4.element", "beautifulsoup4"),
        ("faiss", "pip install 'qsel[faiss]'"),
        ("fcntl", "Python's module fcntl is missing"),
        ("qsel.absent", "qsel.absent is missing from this installation"),
        ("colour_tools", "the module colour_tools is missing"),
        ("torch", "pip install torch"),
        ("umap", "pip install 'qsel[book]'"),
    ],
)
def test_a_missing_package_and_what_brings_it(qsel, monkeypatch, missing, says):
    def lacking(source):
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr("qsel.data.load", lacking)
    outcome = qsel("data")
    refused(outcome, says)
    if "book" not in says and missing != "bs4.element":
        assert "book" not in outcome[2]


def test_usage_errors_have_no_traceback(qsel):
    for words in (["trane"], ["train", "--seed", "x"], ["select", "--no"]):
        status, _, err = qsel(*words)
        assert status == 2 and "Traceback" not in err and "Error" in err


def test_describes_data(qsel, photos, tmp_path):
    sheet = tmp_path / "sheet.png"
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


@pytest.mark.parametrize("words", [["data", "--check"], ["train"]])
def test_all_broken_images_of_both_parts_are_named_at_once(qsel, tmp_path, words):
    root = tiny.as_folder(tmp_path / "photos")
    broken = sorted(root.glob("*/*/0.png"))
    for path in broken:
        path.write_bytes(b"nothing")
    out = ["--out", tmp_path / "run", *tiny_settings()] if "train" in words else []
    status, _, err = qsel(*words, "--data", root, *out)
    assert status == 2 and f"{len(broken)} of 48 images cannot be used" in err
    assert all(f"{path}: this is not an image" in err for path in broken)
    assert not (tmp_path / "run").exists()


def test_a_record_names_the_images_that_were_left_out(qsel, tmp_path):
    root = tiny.as_folder(tmp_path / "photos")
    (root / "c1" / "f1" / "0.png").write_bytes(b"nothing")
    words = ["--data", f"{root}?skip_bad=1", "--preset", "smoke", *tiny_settings()]
    status, _, err = qsel("train", *words, "--out", tmp_path / "run")
    assert status == 0, err
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["data"]["skipped"] == ["c1/f1/0.png"]
    assert record["command"].startswith("qsel train --data 'photos?skip_bad=1'")


def test_another_data_set_of_equal_names_and_sizes_is_not_mistaken(qsel, tmp_path):
    words = ["--preset", "smoke", *tiny_settings(), "--out", tmp_path / "run"]
    first = tiny.as_folder(tmp_path / "photos")
    for path in first.glob("*/*/*.png"):
        with Image.open(path) as image:
            image.save(path.with_suffix(".bmp"))
        path.unlink()
    assert qsel("train", "--data", first, *words)[0] == 0
    for path in first.glob("*/*/*.bmp"):
        with Image.open(path) as image:
            ImageOps.invert(image).save(path)
    refused(qsel("train", "--data", first, *words), "holds another run")


@pytest.mark.parametrize("ending", SHEETS)
def test_a_contact_sheet_of_every_kind(tmp_path, ending):
    sheet = tmp_path / f"sheet{ending}"
    save_sheet(Image.new("RGB", (9, 9), "white"), sheet)
    assert [path.name for path in tmp_path.iterdir()] == [sheet.name]
    assert sheet.stat().st_size > 0


def test_a_bad_sheet_is_said_before_the_data_is_read(qsel, tmp_path, monkeypatch):
    monkeypatch.setattr("qsel.data.load", None)
    (tmp_path / "taken").touch()
    (tmp_path / "folder.png").mkdir()
    for sheet, says in {
        "absent/sheet.png": "there is no folder",
        "sheet": "expected a file ending in .png",
        "sheet.doc": "expected a file ending in .png",
        "folder.png": "is a folder",
        "taken/sheet.png": "taken",
    }.items():
        refused(qsel("data", "--sheet", tmp_path / sheet), sheet.split("/")[0], says)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write all
    refused(qsel("data", "--sheet", tmp_path / "a.png"), "a.png", "no permission")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.png", "taken"]


def test_train_and_evaluate(qsel, photos, tmp_path):
    """A row with embeddings of any length that is tested by cosine, in both."""
    out_folder = tmp_path / "run"
    words = ["train", "--data", photos, "--method", "n_pairs", "--preset", "smoke"]
    words += ["--seed", "3", "--out", out_folder, *tiny_settings()]
    status, out, err = qsel(*words)
    assert status == 0, err
    trained = re.search(r"trained +(.*)", out).group(1)
    assert re.match(r"R@1 \d+\.\d\d  R@2", trained)
    text = (out_folder / "record.json").read_text(encoding="utf-8")
    record = json.loads(text)
    assert record["config"]["method"] == "n_pairs" and record["config"]["seed"] == 3
    assert str(tmp_path) not in text
    assert record["command"].startswith("qsel train --data photos --preset smoke")
    # Again: nothing is trained, the same is printed.
    written = (out_folder / "record.json").stat().st_mtime_ns
    assert qsel(*words)[1] == out
    assert (out_folder / "record.json").stat().st_mtime_ns == written
    refused(qsel("evaluate", out_folder, "--trust"), "was trained on", "--data")
    status, out, err = qsel("evaluate", out_folder, "--data", photos, "--trust")
    assert status == 0, err
    assert trained in out
    # Another run does not take its place.
    words = [word for word in words if not str(word).startswith("--set=batch")]
    refused(qsel(*words, "--set", "batch=5"), "holds another run", "run")


def test_evaluate_on_data_of_other_classes(qsel, photos, tmp_path):
    words = ["--preset", "smoke", "--out", tmp_path / "run", *tiny_settings()]
    assert qsel("train", "--data", photos, *words)[0] == 0
    other = f"{photos}?test_fraction=0.25"  # nine training classes, not six
    evaluate = ["evaluate", tmp_path / "run", "--trust", "--seen", "--data", other]
    refused(qsel(*evaluate), "model.pt", "(6, 8)", "photos", "(9, 8)")
    evaluate[-1:] = [photos, "--set", "embedding_dim=4"]
    refused(qsel(*evaluate), "embedding.weight has shape (8, 64)", "(4, 64)")


def test_evaluate_refuses_classes_that_were_trained_on(qsel, photos, tmp_path):
    words = ["--preset", "smoke", "--out", tmp_path / "run", *tiny_settings()]
    assert qsel("train", "--data", photos, *words)[0] == 0
    path = tmp_path / "run" / "record.json"
    recorded = json.loads(path.read_text(encoding="utf-8"))
    trained = set(recorded["data"]["trained on"])
    assert len(trained) == 6 and trained < {f"c{k % 3}/f{k}" for k in range(12)}
    evaluate = ["evaluate", tmp_path / "run", "--trust", "--data"]
    assert "trained on" not in qsel(*evaluate, photos)[1]
    other = f"{photos}?seed=1"
    tested = set(load(other).test.hierarchy.fine_names)
    assert 0 < len(tested & trained) < 6
    says = f"{len(tested & trained)} of the 6 classes to be tested were trained on"
    refused(qsel(*evaluate, other), says, "--seen")
    status, out, err = qsel(*evaluate, other, "--seen")
    assert status == 0, err
    assert "R@1" in out and says in out


def test_evaluate_calls_no_function_of_a_record_unasked(
    qsel, photos, tmp_path, monkeypatch
):
    words = ["--preset", "smoke", "--out", tmp_path / "run", *tiny_settings()]
    assert qsel("train", "--data", photos, *words)[0] == 0
    called = []
    real = tiny.trunk
    monkeypatch.setattr(tiny, "trunk", lambda: called.append(1) or real())
    evaluate = ["evaluate", tmp_path / "run", "--data", photos]
    refused(qsel(*evaluate), "record.json names the function tiny:trunk", "--trust")
    refused(qsel(*evaluate, "--set", "batch=3"), "tiny:trunk", "--trust")
    assert not called
    # Who names it in the command has asked for it.
    for asked in (["--trust"], ["--set", "trunk=tiny:trunk"]):
        assert qsel(*evaluate, *asked)[0] == 0
    assert len(called) == 2


def test_evaluate_at_another_size(qsel, photos, tmp_path, monkeypatch):
    """Some trunks take any; where the features depend on it, it is to blame."""
    words = ["--preset", "smoke", *tiny_settings(), "--data", photos]
    evaluate = ["evaluate", "--trust", "--data", photos, "--set", "image_size=8"]
    assert qsel("train", *words, "--out", tmp_path / "any")[0] == 0
    assert qsel(*evaluate, tmp_path / "any")[0] == 0
    flat = nn.Sequential(nn.AvgPool2d(4), nn.Flatten())
    monkeypatch.setattr(tiny, "trunk", lambda: flat)
    assert qsel("train", *words, "--out", tmp_path / "one")[0] == 0
    refused(qsel(*evaluate, tmp_path / "one"), "model.pt does not fit", "settings")


def test_evaluate_of_files_that_are_something_else(qsel, photos, tmp_path):
    words = ["--preset", "smoke", "--out", tmp_path / "run", *tiny_settings()]
    assert qsel("train", "--data", photos, *words)[0] == 0
    evaluate = ["evaluate", tmp_path / "run", "--trust", "--data", photos]
    for content in (b"", b"words", pickle.dumps(print, 2)):
        (tmp_path / "run" / "model.pt").write_bytes(content)
        refused(qsel(*evaluate), "model.pt is no network")
    path = tmp_path / "run" / "record.json"
    recorded = json.loads(path.read_text(encoding="utf-8"))
    for config in ({"colour": "red"}, {"trunk": 3}, {"trunk": None}):
        path.write_text(json.dumps(recorded | {"config": config}), encoding="utf-8")
        refused(qsel(*evaluate), "record.json holds settings", *config)
    path.write_text(json.dumps(recorded | {"command": "qsel"}), encoding="utf-8")
    refused(qsel("evaluate", tmp_path / "run", "--trust"), "--data")


def test_a_record_is_repeated(qsel, photos, tmp_path, monkeypatch):
    words = ["train", "--data", photos, "--preset", "smoke", "--out", tmp_path / "run"]
    assert qsel(*words, *tiny_settings(epochs=1))[0] == 0
    path = tmp_path / "run" / "record.json"
    record = Record.load(path)
    monkeypatch.setattr("qsel.experiments.repeat.repeat", lambda *arguments: record)
    status, out, _ = qsel("repeat", path, "--data", photos)
    recorded, again = out.splitlines()
    assert status == 0 and "R@1" in again
    assert recorded.split()[1:] == again.split()[1:]
    monkeypatch.undo()
    refused(qsel("repeat", tmp_path / "none.json"), "none.json")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--preset", "huge"], ["no preset 'huge'", "smoke"]),
        (["--method", "method3"], ["method3", "method2"]),
        (["--method", "method3"], list(row_names.ALL)),
        (["--set", "batch"], ["'batch'", "name=value"]),
        (["--set", "=3"], ["'=3'", "name=value"]),
        (["--set", "batch="], ["'batch='", "name=value"]),
        (["--set", "batch=3", "--set", "batch=4"], ["batch=3", "batch=4", "once"]),
        (["--set", "learning_rate=nan"], ["learning_rate=nan", "from 0"]),
        (["--set", "learning_rate=inf"], ["learning_rate=inf", "from 0"]),
        (["--method", ""], ["--method '' is empty"]),
        (["--data="], ["--data is empty"]),
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
    known = [] if "--preset" in words else ["--preset", "smoke"]
    named = [word.partition("=")[0] for word in words]
    known += [one for one in tiny_settings() if one.split("=")[1] not in named]
    given = [*known, *words]
    refused(qsel("train", "--out", tmp_path / "run", *given), *says)
    assert not (tmp_path / "run").exists()


def test_a_file_where_the_run_should_go(qsel, photos, tmp_path):
    (tmp_path / "run").write_text("")
    words = ["train", "--data", photos, "--preset", "smoke", "--out", tmp_path / "run"]
    refused(qsel(*words, *tiny_settings()), str(tmp_path / "run"))


@pytest.mark.parametrize("kind", ["absent", "file", "empty"])
def test_data_refuses_in_one_line(qsel, tmp_path, kind):
    path = tmp_path / kind
    if kind == "file":
        path.write_text("")
    if kind == "empty":
        path.mkdir()
    refused(qsel("data", "--data", path), kind)


def test_evaluate_refuses_in_one_line(qsel, tmp_path):
    refused(qsel("evaluate", tmp_path / "absent"), "no run record at", "absent")
    (tmp_path / "record.json").write_text("{}")
    refused(qsel("evaluate", tmp_path), "record.json", "remove it")


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


@pytest.mark.parametrize("command", ["table1", "book"])
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--preset", "huge"], ["no preset 'huge'", "smoke"]),
        (["--data", "absent"], ["'absent'", "synthcars"]),
    ],
)
def test_book_and_table_refuse_before_anything_runs(
    qsel, tmp_path, monkeypatch, command, words, says
):
    monkeypatch.setattr("papermill.execute_notebook", None)
    monkeypatch.chdir(ROOT)
    refused(qsel(command, *words), *says)


def test_table_refuses_a_setting_before_anything_runs(qsel, photos, monkeypatch):
    monkeypatch.setattr("papermill.execute_notebook", None)
    monkeypatch.chdir(ROOT)
    words = ["table1", "--preset", "smoke", "--data", photos, "--set", "bacth=3"]
    refused(qsel(*words), "unknown setting 'bacth'")


@pytest.mark.parametrize("command", ["table1", "book"])
def test_outside_the_repository(qsel, photos, tmp_path, monkeypatch, command):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    refused(qsel(command, "--data", photos, "--preset", "smoke"), "root")


def test_the_table_has_a_hole_where_a_run_failed(qsel, photos, monkeypatch):
    """The table first, then what failed; the exit status says so."""
    failed = ["random, seed 0: table1_run.ipynb with {}, cell 3:\nValueError: no"]
    monkeypatch.setattr("qsel.book.execute.run_table", lambda *a, **k: failed)
    status, out, err = qsel("table1", "--data", photos, "--preset", "smoke")
    assert status == 1
    assert "not run" in out and "Proposed Method 2" in out
    assert err.startswith("qsel: 1 run failed") and "random, seed 0" in err


def test_the_book_has_a_hole_where_a_notebook_failed(qsel, tmp_path, monkeypatch):
    """It is rendered all the same, and the exit status says so."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "_toc.yml").touch()
    rendered = []

    def render(*arguments):
        rendered.append(arguments)
        return tmp_path / "index.html"

    failed = ["chapter: chapter.ipynb with {}, cell 3:\nValueError: no"]
    monkeypatch.setattr("qsel.book.build.render", render)
    monkeypatch.setattr("qsel.book.build.execute_all", lambda *arguments: failed)
    status, out, err = qsel("book", "--store")
    assert status == 1 and len(rendered) == 1 and "index.html" in out
    assert "chapter: chapter.ipynb" in err and "nothing was stored" in err


def test_every_wrong_setting_is_named_before_the_data_is_loaded(qsel, monkeypatch):
    monkeypatch.setattr("qsel.data.load", lambda source: pytest.fail("loaded"))
    wrong = ["--set", "batch=0", "--set", "bacth=3", "--set", "dropout=x"]
    says = ["batch=0", "'bacth'", "dropout='x'"]
    for words in (["train"], ["table1"], ["tune", "--out", "a.json"], ["ablations"]):
        monkeypatch.chdir(ROOT)
        refused(qsel(*words, "--preset", "laptop", *wrong), *says)
    refused(qsel("train", "--set", "a", "--set", "seed=3"), "--set 'a'", "--set seed=3")


@pytest.mark.parametrize(
    "words", [["train", "--out"], ["table1", "--runs"], ["ablations", "--runs"]]
)
@pytest.mark.parametrize("place", ["taken", "taken/below"])
def test_a_place_that_cannot_be_written_to_is_said_before_the_data_is_loaded(
    qsel, tmp_path, monkeypatch, words, place
):
    (tmp_path / "taken").write_text("kept")
    monkeypatch.setattr("qsel.data.load", lambda source: pytest.fail("loaded"))
    monkeypatch.chdir(ROOT)
    refused(
        qsel(*words, tmp_path / place, "--preset", "laptop"),
        "cannot write to",
        words[1],
    )
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_two_trainings_do_not_share_a_folder(qsel, photos, tmp_path):
    words = ["train", "--data", photos, "--preset", "smoke", "--out", tmp_path / "run"]
    with locked(tmp_path / "run" / "lock"):
        refused(
            qsel(*words, *tiny_settings()), "another program", str(tmp_path / "run")
        )
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["lock"]
    assert qsel(*words, *tiny_settings())[0] == 0


def test_table_passes_on_what_was_asked_for(qsel, photos, monkeypatch):
    asked = {}

    def run_table(root, preset, data, runs, **options):
        asked.update(options, runs=runs)
        return []

    monkeypatch.setattr("qsel.book.execute.run_table", run_table)
    words = ["table1", "--data", photos, "--preset", "smoke", "--runs", "there"]
    words += ["--rows", "random, method1", "--seed", "3", "--jobs", "2"]
    assert qsel(*words, "--set", "batch=4")[0] == 0
    assert asked == {
        "runs": "there",
        "rows": ["random", "method1"],
        "seeds": [3],
        "at_once": 2,
        "settings": {"batch": "4"},
    }
    refused(qsel(*words, "--seeds", "2"), "--seed 3 and --seeds 2")
    qsel("table1", "--data", photos, "--preset", "smoke", "--seeds", "2")
    assert list(asked["seeds"]) == [0, 1] and asked["rows"] is None


def test_nothing_can_be_named_by_an_empty_word(qsel):
    for words in (["--rows", ""], ["--rows", " "], ["--runs="], ["--set", ""]):
        refused(qsel("table1", *words), words[0].strip("="), "is empty")
    refused(qsel("evaluate", ""), "evaluate '' is empty")


def test_tune_refuses_before_the_data_is_read(qsel, tmp_path, monkeypatch):
    monkeypatch.setattr("qsel.data.load", None)
    (tmp_path / "taken").touch()
    good = ["tune", "--out", tmp_path / "a.json"]
    refused(qsel("tune", "--out", tmp_path), f"{tmp_path} is a folder")
    refused(qsel("tune", "--out", tmp_path / "taken" / "a"), "taken is a file")
    refused(qsel(*good, "--row", "method3"), "method3", *row_names.RIVALS)
    refused(
        qsel(*good, "--preset", "huge"), "preset 'huge' has no search space", "laptop"
    )
    refused(qsel(*good, "--set", "batch=0"), "batch=0")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_tune_says_what_was_held_out_what_won_and_which_range_to_widen(
    qsel, tmp_path, monkeypatch
):
    monkeypatch.setitem(tuning.SPACES, "smoke", {"learning_rate": (0.009, 1)})
    photos = tiny.as_folder(tmp_path / "photos", each=6)
    photos = f"{photos}?test_fraction=0.25"
    words = ["tune", "--data", photos, "--preset", "smoke", "--row", "semi_hard"]
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


def test_table_refuses_an_unknown_row(qsel, photos, monkeypatch):
    monkeypatch.setattr("papermill.execute_notebook", None)
    monkeypatch.chdir(ROOT)
    words = ["table1", "--preset", "smoke", "--data", photos, "--rows", "method3"]
    refused(qsel(*words), "no row 'method3'", "method2")


def test_book_check_names_stale_pages(qsel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = notebook(tmp_path / "notebooks" / "page.ipynb", "1", parameters="")
    refused(qsel("book", "--check"), "run from the root of the repository")
    (tmp_path / "_toc.yml").touch()
    status, _, err = qsel("book", "--check")
    assert status == 1 and "notebooks/page.ipynb: never executed" in err
    page.unlink()
    status, out, _ = qsel("book", "--check")
    assert status == 0 and "every page" in out


def test_book_refuses_what_excludes_each_other(qsel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(qsel("book", "--stored", "--store"), "--store and --stored exclude each")
    refused(qsel("book", "--stored", "--check"), "--stored and --check exclude")
    refused(qsel("book", "--check", "--pdf"), "--check and --pdf exclude")
    refused(qsel("book", "--stored"), "run from the root of the repository")


def test_book_with_an_address_and_without(qsel, tmp_path, monkeypatch):
    """A wrong one is told before the work; a right one gets its buttons after it."""
    rendered = []

    def render(source, root, strict, config):
        rendered.append(config)
        return tmp_path / "_build" / "html" / "index.html"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("qsel.book.build.execute_all", None)
    monkeypatch.setattr("qsel.book.build.render", render)
    (tmp_path / "_toc.yml").touch()
    settings = "html: {}\nsphinx: {config: {html_theme_options: {}}}"
    (tmp_path / "_config.yml").write_text(settings)
    link = "https://colab.research.google.com/github/a/b/blob/{}/notebooks/1.ipynb"
    page = tmp_path / "_build" / "html" / "1.html"
    page.parent.mkdir(parents=True)
    page.write_text(link.format("main"))
    refused(qsel("book", "--repository", "a/b"), "https://github.com/OWNER/NAME")
    assert qsel("book", "--stored")[0] == 0
    assert page.read_text() == link.format("main")
    status, _, err = qsel("book", "--stored", "--repository", "https://github.com/a/b")
    assert status == 0, err
    assert page.read_text() == link.format("colab")
    assert rendered == [None, tmp_path / "_build" / "_config.yml"]


# --- for a class -----------------------------------------------------------------


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
    assert (tmp_path / "class" / "a.ipynb").is_file()
    (tmp_path / "class" / "a.ipynb").write_text("mine")
    refused(qsel("exercises", "--out", "class"), "a.ipynb is there and has other")
