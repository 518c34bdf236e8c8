"""The teaching page: its links, scenes and commands are there."""

import html
import re
import shlex
from pathlib import Path
from urllib.parse import parse_qs

import exercise_cells
import pytest
import torch
from typer.main import get_command

from qsel import cli
from qsel.book.figures.lab import scenes
from qsel.experiments import config, switches
from qsel.experiments.rows import ROWS
from qsel.selection import METHODS, select_quadruplets

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "book" / "teaching.md").read_text(encoding="utf-8")
WRITTEN = exercise_cells.written()
SCENES = {scene.key: scene for scene in scenes()}
LINKS = [
    {key: values[0] for key, values in parse_qs(html.unescape(found)).items()}
    for found in re.findall(r'href="lab\.html#lab\?([^"]*)"', PAGE)
]


def slug(name: str) -> str:
    return f"exercise-{name.replace('.', '-')}"


def test_every_exercise_is_listed_under_its_page_and_level():
    part = PAGE.split("## All exercises")[1].split("\n(misconceptions)=")[0]
    listed = []
    for line in part.splitlines():
        page = re.search(r"notebooks/(\w+)\.ipynb", line)
        in_table = line.startswith("| [")
        cells = line.strip("| ").split(" | ") if in_table else ["", line]
        for level, cell in zip(
            ("Predict", "Compute", "Build"), cells[1:], strict=False
        ):
            found = re.findall(r"\[([\w.-]+) ([^]]*)\]\((exercise-[^)]*)\)", cell)
            for name, title, link in found:
                assert link == slug(name)
                assert title in WRITTEN[name].question.splitlines()[1]
                if in_table:
                    assert WRITTEN[name].notebook == page[1]
                    assert WRITTEN[name].level == level
                listed.append(name)
    assert sorted(listed) == sorted(WRITTEN)


def test_every_exercise_and_figure_that_is_named_exists():
    links = re.findall(r"\[(\d[\d.]*[a-e])\]\((exercise-[^)]*)\)", PAGE)
    assert links and all(name in WRITTEN and link == slug(name) for name, link in links)
    figures = set(re.findall(r"\{numref\}`(fig-[\w-]+)`", PAGE))
    stored = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "notebooks").glob("*.ipynb")
    )
    assert figures and all(f'"name": "{figure}"' in stored for figure in figures)


def test_links_to_the_lab_name_scenes_of_the_lab():
    assert len(LINKS) >= 6
    for link in LINKS:
        scene = SCENES[link["scene"]]
        assert link["method"] in METHODS
        assert link.get("batch", "one") in ("one", "all")
        assert set(link) <= {"scene", "method", "batch", "moved", "r", "draw"}
        for moved in link.get("moved", "").split(";"):
            if moved:
                place, x, y = re.fullmatch(
                    r"(\d+):(-?[\d.]+),(-?[\d.]+)", moved
                ).groups()
                assert int(place) < len(scene.points) and float(x) < 5 > float(y)


def test_the_scene_with_n_moved_shows_what_the_lesson_asks():
    (link,) = (link for link in LINKS if "moved" in link)
    scene = SCENES[link["scene"]]
    place, x, y = re.split("[:,]", link["moved"])
    moved = scene.points.clone()
    moved[int(place)] = torch.tensor([float(x), float(y)])

    def select(points, method):
        chosen = select_quadruplets(
            points,
            scene.labels.fine,
            scene.labels.coarse,
            torch.tensor([scene.reference]),
            method,
        )
        return chosen.stack().flatten().tolist()

    before, after = select(scene.points, "method1"), select(moved, "method1")
    assert before[3] == after[3] == int(place)  # N, as far from R as before
    assert moved[int(place)].norm() == scene.points[int(place)].norm()
    assert before[1:3] != after[1:3]
    assert select(scene.points, "method2") == select(moved, "method2")


COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", " ").split("\n")
    if line.strip()
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_exist_with_these_options(words):
    program, name, *rest = words
    assert program == "qsel"
    command = get_command(cli.app).commands[name]
    with command.make_context(name, rest) as context:
        given = context.params
    assert given.get("preset") in (None, *config.PRESETS)
    for row in (given.get("rows") or "").split(","):
        assert row in ("", *ROWS)
    for switch in (given.get("names") or "").split(","):
        assert switch in ("", *switches.SWITCHES)


def test_switches_and_targets_that_the_text_names_exist():
    named = re.findall(r"`(\w+_\w+)`", PAGE.split("## A lab session")[1])
    assert named and set(named) <= set(switches.SWITCHES)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`make (\w+)", PAGE)):
        assert f"\n{target}: " in makefile


def test_there_are_enough_misconceptions_and_each_says_where_to_show_it():
    part = PAGE.split("(misconceptions)=")[1]
    entries = re.findall(r"\n\n?([^\n:][^\n]*)\n: ((?:.|\n)*?)(?=\n\n|\Z)", part)
    assert len(entries) >= 8
    for belief, answer in entries:
        assert re.search(r"exercise-|fig-|\.ipynb|lab\.html|table1-origin", answer), (
            belief
        )


def test_lessons_have_no_gap_and_last_as_long_as_they_say():
    for title, first, last in (("45", 0, 45), ("90", 37, 90)):
        part = PAGE.split(f"## {title} minutes")[1].split("\n## ")[0]
        times = [(int(a), int(b)) for a, b in re.findall(r"\n\| (\d+)–(\d+) \|", part)]
        assert times[0][0] == first and times[-1][1] == last
        assert all(one[1] == two[0] for one, two in zip(times, times[1:], strict=False))
