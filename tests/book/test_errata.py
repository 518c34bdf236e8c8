"""The errata's lines and table are what the recorded ablations say, and follow them."""

import json
import re
import shutil
from pathlib import Path

import pytest

from qsel.book import errata
from qsel.book.errata import END, PAGE, effects, is_stale, measured, page, write
from qsel.book.verdicts import words
from qsel.experiments import ablations, table1
from qsel.experiments.comparison import compare, of_row
from qsel.experiments.config import Config
from qsel.experiments.switches import SWITCHES

ROOT = Path(__file__).parents[2]
ERRATA = (ROOT / "book" / "errata.md").read_text(encoding="utf-8")
TABLE, SWITCHED = Path(table1.RECORDED), Path(ablations.RECORDED)


@pytest.fixture(scope="module")
def recorded():
    return errata.gather(ROOT / "results")


@pytest.fixture(scope="module")
def text(recorded):
    return page(*recorded)


@pytest.fixture(scope="module")
def table(recorded):
    return effects(*recorded)


@pytest.fixture
def small(tmp_path):
    """A repository with one switch of an erratum, one of none, and their row."""
    for seed in range(3):
        run = f"method2-seed{seed}"
        for place in (TABLE, SWITCHED / "lambda_swapped", SWITCHED / "no_global"):
            source = ROOT / "results" / place / run
            shutil.copytree(source, tmp_path / "results" / place / run)
    (tmp_path / "book").mkdir()
    return tmp_path


def test_the_errata_show_what_the_records_give(text):
    shown = (ROOT / PAGE).read_text(encoding="utf-8")
    assert shown == text, "run python -m qsel.book.errata"


def test_another_record_is_another_text(small):
    write(small, small)
    assert not is_stale(small)
    before = (small / PAGE).read_text(encoding="utf-8")
    path = (
        small
        / "results"
        / SWITCHED
        / "lambda_swapped"
        / "method2-seed1"
        / "record.json"
    )
    record = json.loads(path.read_text())
    record["metrics"]["R@1"] -= 0.05
    path.write_text(json.dumps(record))
    assert is_stale(small)
    write(small, small)
    after = (small / PAGE).read_text(encoding="utf-8")
    changed = [line for line in after.splitlines() if line not in before]
    # The sentence, the count of what is clear, and the row of the table.
    assert len(changed) == 3 and "Proposed Method 2" in changed[0]
    assert not is_stale(small)


def test_without_records_nothing_is_said(tmp_path):
    runs, base = errata.gather(tmp_path)
    assert measured(runs, base, 3) == "**Measured:** not run."
    text = page(runs, base)
    assert not re.search(r"\d\.\d", text)


def test_a_line_names_the_setting_and_its_change_with_the_interval(recorded):
    runs, base = recorded
    line = measured(runs, base, 3)
    assert line.count("\n- ") == 1
    assert "`first_margin`: difference → derived" in line
    mine = of_row(runs[runs.ablation == "margin_derived"], "method2")
    assert words(compare(mine, of_row(base, "method2"))) in line


def test_the_table_has_every_run_of_an_erratum_and_no_other(recorded, table):
    runs, base = recorded
    recorded_rows = [(name, row) for name, row in ablations.shown(runs)]
    expected = [SWITCHES[name].erratum for name, _ in recorded_rows]
    expected = [number for number in expected if number]
    numbers = [int(re.search(r"\d+", name)[0]) for name in table.index]
    assert numbers == sorted(expected)
    (swapped,) = table[table.setting.str.contains("coarse_weight")].to_dict("records")
    mine = of_row(runs[runs.ablation == "lambda_swapped"], "method2")
    found = compare(mine, of_row(base, "method2"))
    assert swapped["R@1 change"].startswith(f"{found.difference:+.2f} ±")
    assert swapped["clear"] == ("yes" if found.clear else "no")


def test_the_count_is_that_of_the_table(table):
    clear = table[table["clear"] == "yes"]
    said = errata.counted(table)
    assert said.startswith(f"{len(clear)} of {len(table)} comparisons")
    assert set(re.findall(r"\[\d+\]\(erratum-\d+\)", said)) == set(clear.index)


def test_the_opening_names_the_errata_that_are_clear(table):
    opening, _ = ERRATA.split("The readings\nof the two selection rules")
    named = set(re.findall(r"\[\d+\]\(erratum-\d+\)", opening))
    assert named == set(table.index[table["clear"] == "yes"])
    assert "two move R@1 clearly" in opening and len(named) == 2


def test_every_piece_is_included_once_under_its_own_erratum(text):
    pieces = re.findall(r"^<!-- (\S+) -->$", text, re.MULTILINE)
    pieces = [name for name in pieces if f"<!-- {name} -->" != END]
    included = re.findall(
        r"```{include} _generated/errata-effects.md\n:start-after: <!-- (\S+) -->\n"
        r":end-before: <!-- end -->\n```",
        ERRATA,
    )
    assert sorted(included) == sorted(pieces)
    anchor = None
    for line in ERRATA.splitlines():
        if found := re.fullmatch(r"\((\S+)\)=", line):
            anchor = found[1]
        if line.startswith(":start-after: <!-- erratum"):
            assert anchor in line.split()


def test_the_defaults_that_the_errata_name_are_the_settings():
    named = 0
    for line in ERRATA.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        switches = re.findall(r"`(\w+)`", cells[3]) if len(cells) == 5 else []
        for switch, default in zip(switches, cells[-1].split(", "), strict=False):
            if switch in Config().to_dict():
                assert str(getattr(Config(), switch)).lower() == default
                named += 1
    assert named == 11
