"""What each decision that the paper leaves open changes, for the page of errata.

The page is Markdown, and no number is typed into it: it includes the pieces of a file
that is written here from the recorded ablations, committed, and held against them by
the tests and by ``qsel book --check``:

    python -m qsel.book.errata
"""

from pathlib import Path

import pandas as pd

from qsel.book.verdicts import words
from qsel.experiments import ablations, table1
from qsel.experiments.comparison import compare, of_row
from qsel.experiments.config import preset
from qsel.experiments.rows import TITLES
from qsel.experiments.switches import SWITCHES

PAGE = Path("book") / "_generated" / "errata-effects.md"
CHAPTER = "../notebooks/4_1_ablations.ipynb"
END = "<!-- end -->"
RECORDED_PRESET = Path(table1.RECORDED).name


def gather(results: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The recorded ablations and the table's own runs, of a folder of results.

    Returns:
        What ``qsel.experiments.ablations.gather`` and
        ``qsel.experiments.table1.gather`` return; empty without records.
    """
    base = table1.gather(Path(results) / table1.RECORDED)
    return ablations.gather(Path(results) / ablations.RECORDED, base), base


def pairs(runs: pd.DataFrame) -> list[tuple[int, str, str]]:
    """(erratum, ablation, row) of all that was run for an erratum, by its number.

    Example:
        >>> pairs(pd.DataFrame({"ablation": ["body9", "no_global", "global_heavy"],
        ...                     "method": ["random", "method2", "method2"]}))
        [(5, 'global_heavy', 'method2'), (11, 'body9', 'random')]
    """
    found = [
        (SWITCHES[name].erratum, name, method)
        for name, method in ablations.shown(runs)
        if SWITCHES[name].erratum is not None
    ]
    return sorted(found, key=lambda pair: pair[0])


def setting(name: str, method: str) -> str:
    """What a switch changes, from the row's own value to the other.

    Example:
        >>> setting("margin_derived", "method2"), setting("body9", "random")
        ('`first_margin`: difference → derived', '`coarse=body9` of the data')
    """
    own = preset(RECORDED_PRESET, method)
    changed = SWITCHES[name].changed(own)
    before = own.to_dict()
    told = [f"`{k}`: {_plain(before[k])} → {_plain(v)}" for k, v in changed.items()]
    told += [f"`{k}={v}` of the data" for k, v in SWITCHES[name].options.items()]
    return ", ".join(told)


def measured(runs: pd.DataFrame, base: pd.DataFrame, erratum: int) -> str:
    """What the switches of one erratum do to R@1: a line for each row run.

    Args:
        runs: as ``qsel.experiments.ablations.gather`` returns them.
        base: the table's own runs.
        erratum: its number.
    """
    lines = []
    for number, name, method in pairs(runs):
        if number == erratum:
            of_switch = of_row(runs[runs.ablation == name], method)
            found = words(compare(of_switch, of_row(base, method)))
            lines.append(f"- {setting(name, method)} ({TITLES[method]}): {found}.")
    if not lines:
        return "**Measured:** not run."
    title = f"**Measured**, change of R@1 in points, 95 % interval ([4.1]({CHAPTER})):"
    return title + "\n\n" + "\n".join(lines)


def effects(runs: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    """One row for each erratum, switch and row that was run, metrics in points.

    Args:
        runs: as ``qsel.experiments.ablations.gather`` returns them.
        base: the table's own runs.

    Returns:
        Columns setting, row, seeds, "R@1 change" and "NMI change" (mean ± sd over
        seeds), and whether that of R@1 is clear. The index links to the erratum.
    """
    rows, anchors = [], []
    for number, name, method in pairs(runs):
        of_switch = of_row(runs[runs.ablation == name], method)
        changes = {f"{m} change": of_switch[f"{m} change"] for m in ("R@1", "NMI")}
        clear = compare(of_switch, of_row(base, method)).clear
        anchors.append(f"[{number}](erratum-{number})")
        rows.append(
            {
                "setting": setting(name, method),
                "row": TITLES[method],
                "seeds": changes["R@1 change"].notna().sum(),
                **{metric: _signed(values) for metric, values in changes.items()},
                "clear": "yes" if clear else "no",
            }
        )
    return pd.DataFrame(rows, index=anchors)


def counted(table: pd.DataFrame) -> str:
    """How many of the effects are clear, each judged by itself, and of which errata."""
    clear = table.index[table["clear"] == "yes"]
    return (
        f"{len(clear)} of {len(table)} comparisons are clear: those of "
        f"{', '.join(clear.unique())}."
    )


def page(runs: pd.DataFrame, base: pd.DataFrame) -> str:
    """The file that the errata include piece by piece, each between two comments."""
    numbers = sorted({s.erratum for s in SWITCHES.values() if s.erratum is not None})
    pieces = {f"erratum-{n}": measured(runs, base, n) for n in numbers}
    pieces["counted"] = pieces["effects"] = "Not run."
    if pairs(runs):
        table = effects(runs, base)
        pieces["counted"] = counted(table)
        pieces["effects"] = table1.markdown(table).replace("| |", "| erratum |", 1)
    text = [f"<!-- {name} -->\n{piece}\n{END}\n" for name, piece in pieces.items()]
    return "<!-- Written by qsel.book.errata. -->\n\n" + "\n".join(text)


def is_stale(root: Path) -> bool:
    """Whether a repository's file is there and no longer what its records give."""
    place = root / PAGE
    if not place.is_file():
        return False
    return place.read_text(encoding="utf-8") != page(*gather(root / "results"))


def write(root: Path, to: Path) -> None:
    """Write the file below a copy of a repository, from the repository's records."""
    text = page(*gather(root / "results"))
    (to / PAGE).parent.mkdir(parents=True, exist_ok=True)
    (to / PAGE).write_text(text, encoding="utf-8")


def _plain(value: object) -> str:
    """A setting as one would give it on the command line."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value).lower()


def _signed(changes: pd.Series) -> str:
    text = table1.spread(changes)
    return text if text.startswith("-") else f"+{text}"


if __name__ == "__main__":
    write(Path(), Path())
