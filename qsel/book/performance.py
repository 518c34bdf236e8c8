"""The page on speed: tables and sentences from the records of ``make bench``.

A record is JSON, as ``benchmarks/selection.py`` writes it; every number on the page is
read or computed from one.
"""

import json
import math
from html import escape
from pathlib import Path

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from qsel.book.figures.outcomes import as_code, show_table

MEMORY = 256 << 20  # target: bytes above the gallery, at any N


def load(kind: str = "cpu") -> dict:
    """The record of a kind of device, from the root or a notebook; empty if not run."""
    for root in (Path(), Path("..")):
        path = root / "benchmarks" / "results" / f"{kind}.json"
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
    return {}


def provenance(record: dict) -> str:
    """One sentence on what was measured on what, when, and how to do it again."""
    if not record:
        return "Not run."
    return (
        f"Measured on {escape(record['machine'], quote=False)} (threads: "
        f"{record['threads']}) on {record['date']}, in {record['minutes']:.1f} "
        f"minutes, with torch {record['versions']['torch']}; "
        f"{as_code(record['command'])} repeats it."
    )


# --- targets ---------------------------------------------------------------------


def targets(record: dict) -> pd.DataFrame:
    """Every target beside what was measured: work, unit, target, measured, met."""
    rows = [
        (f"{row['title']}, {row['embeddings']} embeddings", "× floor")
        + (row["target"], row["ratio"])
        for row in record["selection"]
        if row["target"] is not None
    ]
    for row in record["steps"]:
        work = f"Step with selection / with random, {row['preset']}"
        rows.append((work, "×", row["target"], row["ratio"]))
    for row in record["growth_n"]:
        work = f"Memory above {row['n']:,} embeddings, {row['b']:,} references"
        rows.append((work, "MiB", MEMORY / 2**20, row["memory"] / 2**20))
    frame = pd.DataFrame(rows, columns=["work", "unit", "target", "measured"])
    return frame.assign(met=frame.measured <= frame.target)


def show_targets(record: dict) -> Styler:
    """The targets as a table for the page, missed ones included."""
    frame = targets(record)
    shown = {
        "target": [f"≤ {row.target:g} {row.unit}" for row in frame.itertuples()],
        "measured": frame.measured.map(number).to_list(),
        "result": frame.met.map({True: "met", False: "missed"}).to_list(),
    }
    return show_table(pd.DataFrame(shown, index=frame.work), "work")


def say_targets(record: dict) -> Markdown:
    """How many targets are met, and by how much each other one is missed."""
    frame = targets(record)
    lines = [f"- {frame.met.sum()} of {len(frame)} targets are met."]
    lines += [
        f"- Missed: {row.work}, {number(row.measured)} {row.unit} instead of "
        f"{row.target:g}."
        for row in frame[~frame.met].itertuples()
    ]
    return Markdown("\n".join(lines))


# --- peers -----------------------------------------------------------------------


def show_peers(record: dict) -> Styler:
    """All that was measured on the same inputs: time, memory, and what it can do."""
    shown = {
        row["title"]: {
            "N": f"{row['n']:,}",
            "seconds": number(row["seconds"]),
            "× floor": number(row["ratio"]),
            "MiB above": _mib(row["memory"]),
            "right": f"{100 * row['right']:.0f} % of {row['checked']}",
            "quadruplet": "yes" if row["quadruplet"] else "N only",
        }
        for row in side_by_side(record)
    }
    return show_table(pd.DataFrame(shown.values(), index=shown), "what")


def say_peers(record: dict) -> Markdown:
    """What each peer takes beside this package's way to the same answer."""
    rows = {row["name"]: row for row in side_by_side(record)}
    lines = []
    for row in record["peers"]:
        ours = rows["method2" if row["quadruplet"] else "hardest_negative"]
        times = row["seconds"] / ours["seconds"]
        lines.append(
            f"- {row['title']}: {number(times)} × the time of {ours['title'].lower()}."
        )
    return Markdown("\n".join(lines))


def side_by_side(record: dict) -> list[dict]:
    """What this package and its peers were asked to do on the same inputs."""
    ours = [
        row
        for row in record.get("selection", [])
        if row["embeddings"] == "clustered" and row["name"] != "recall"
    ]
    return ours + record.get("peers", [])


# --- how far --------------------------------------------------------------------


def show_approximate(record: dict) -> Styler:
    """The approximate index beside the exact search, for each number of probes."""
    shown = pd.DataFrame(
        {
            "embeddings": row["embeddings"],
            "N": f"{row['n']:,}",
            "D": row["d"],
            "probes": row["probes"],
            "true N found": f"{100 * row['recall']:.1f} %",
            "further by": f"{100 * row['further']:.1f} %",
            "ms a reference": number(1000 * row["seconds"] / row["b"]),
            "exact, ms": number(1000 * row["exact"] / row["b"]),
            "index, s": number(row["built"]),
        }
        for row in record["approximate"]
    )
    return show_table(shown.set_index("embeddings"), "embeddings")


# --- GPU -------------------------------------------------------------------------


def show_gpu(record: dict) -> Styler | Markdown:
    """Selection on a GPU beside the product in float32 and TF32."""
    if not record:
        return Markdown("Not run.")
    shown = pd.DataFrame(
        {
            "method": row["name"],
            "products": row["products"],
            "N": f"{row['n']:,}",
            "B": f"{row['b']:,}",
            "seconds": number(row["seconds"]),
            "× floor": number(row["ratio"]),
            "MiB above": _mib(row["memory"]),
            "right": f"{100 * row['right']:.0f} %",
        }
        for row in record["selection"]
    )
    return show_table(shown.set_index("method"), "method")


def number(x: float) -> str:
    """Three digits.

    Example:
        >>> number(1.0449), number(0.01234), number(123.4)
        ('1.04', '0.0123', '123')
    """
    if x == 0 or not 0.001 <= abs(x) < 1000:
        return f"{x:.3g}"
    return f"{x:.{max(0, 2 - math.floor(math.log10(abs(x))))}f}"


def _mib(memory: int) -> str:
    return f"{memory / 2**20:.0f}"
