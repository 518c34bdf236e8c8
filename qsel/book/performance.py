"""The page on speed: tables and sentences from the records of ``make bench``.

A record is JSON, as ``benchmarks/selection.py`` writes it; every number on the page is
read or computed from one. Without a record everything says "Not run."
"""

import json
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from qsel.book.figures.outcomes import as_code, show_table

MEMORY = 256 << 20  # target: bytes above the gallery, at any N
LOOP = 0.95  # target: training with selection by a plain loop, in images/s


def load(kind: str = "cpu") -> dict:
    """The record of a kind of device, from the root or a notebook; empty if not run.

    Raises:
        ValueError: a file that is no record; its path is named.
    """
    for root in (Path(), Path("..")):
        path = root / "benchmarks" / "results" / f"{kind}.json"
        if path.exists():
            try:
                return dict(json.loads(path.read_text(encoding="utf-8")))
            except ValueError as error:
                raise ValueError(
                    f"{path} is no record of make bench ({error}); remove it and "
                    "measure again"
                ) from error
    return {}


def provenance(record: dict) -> str:
    """One sentence on what was measured on what, when, and how to do it again."""
    if not record:
        return "Not run."
    versions = record["versions"]
    machine = escape(record["machine"], quote=False)
    tiny = "Tiny sizes, which show that it runs and nothing else. " * record["tiny"]
    return (
        f"{tiny}Measured on {machine} (threads: {record['threads']}) on "
        f"{record['date']}, in {record['minutes']:.1f} minutes, with torch "
        f"{versions['torch']}; {as_code(record['command'])} repeats it."
    )


# --- targets ---------------------------------------------------------------------


def targets(record: dict, gpu: dict | None = None) -> pd.DataFrame:
    """Every target beside what was measured: work, unit, target, measured, met.

    "met" is None where nothing was measured.

    Args:
        record: of the CPU, may be empty.
        gpu: of a GPU, may be empty.
    """
    rows = []
    for row in record.get("selection", []):
        if row["target"] is not None:
            work = f"{row['title']}, {row['embeddings']} embeddings"
            rows.append((work, "× floor", row["target"], row.get("ratio")))
    for row in record.get("steps", []):
        work = f"Step with selection / with random, {row['preset']}"
        rows.append((work, "×", row["target"], row["ratio"]))
    for row in record.get("growth_n", []):
        memory = row["memory"] / 2**20 if isinstance(row["memory"], int) else None
        work = f"Memory above {row['n']:,} embeddings, {row['b']:,} references"
        rows.append((work, "MiB", MEMORY / 2**20, memory))
    looped = (gpu or {}).get("training") or [{"compiled": c} for c in (False, True)]
    for row in looped:
        how = "with" if row["compiled"] else "without"
        work = f"GPU: training with selection / plain loop, {how} torch.compile"
        rows.append((work, "× images/s", LOOP, row.get("ratio")))
    frame = pd.DataFrame(rows, columns=["work", "unit", "target", "measured"])
    frame["met"] = [
        None if pd.isna(m) else bool(m >= t if unit == "× images/s" else m <= t)
        for unit, t, m in zip(frame.unit, frame.target, frame.measured, strict=True)
    ]
    return frame


def show_targets(record: dict, gpu: dict | None = None) -> Styler | Markdown:
    """The targets as a table for the page, missed ones included."""
    if not record:
        return Markdown("Not run.")
    frame = targets(record, gpu)
    bound = ["≥" if unit == "× images/s" else "≤" for unit in frame.unit]
    shown = pd.DataFrame(
        {
            "target": [
                f"{b} {t:g} {u}"
                for b, t, u in zip(bound, frame.target, frame.unit, strict=True)
            ],
            "measured": [
                "not run" if pd.isna(m) else number(m) for m in frame.measured
            ],
            "result": [
                {True: "met", False: "missed", None: "–"}[met] for met in frame.met
            ],
        },
    ).set_axis(frame.work)
    return show_table(shown, "work")


def say_targets(record: dict, gpu: dict | None = None) -> Markdown:
    """How many targets are met, and by how much each other one is missed."""
    frame = targets(record, gpu)
    measured = frame[frame.met.notna()]
    if not len(measured):
        return Markdown("Not run, so nothing can be said.")
    missed = measured[~measured.met.astype(bool)]
    lines = [f"- {len(measured) - len(missed)} of {len(measured)} targets are met."]
    lines += [
        f"- Missed: {row.work}, {number(row.measured)} {row.unit} instead of "
        f"{row.target:g}."
        for row in missed.itertuples()
    ]
    if left := len(frame) - len(measured):
        lines.append(f"- {left} were not measured.")
    return Markdown("\n".join(lines))


# --- peers -----------------------------------------------------------------------


def show_peers(record: dict) -> Styler | Markdown:
    """All that was measured on the same inputs: time, memory, and what it can do."""
    rows = side_by_side(record)
    if not rows:
        return Markdown("Not run.")
    shown = {row["title"]: _peer(row) for row in rows}
    return show_table(pd.DataFrame(shown.values(), index=shown), "what")


def _peer(row: dict) -> dict[str, str]:
    if "not_run" in row:
        columns = ("N", "seconds", "× floor", "MiB above", "right", "quadruplet")
        return dict.fromkeys(columns, "–") | {"seconds": f"not run: {row['not_run']}"}
    return {
        "N": f"{row['n']:,}",
        "seconds": number(row["seconds"]),
        "× floor": number(row["ratio"]),
        "MiB above": _mib(row["memory"]),
        "right": f"{100 * row['right']:.0f} % of {row['checked']}",
        "quadruplet": "yes" if row["quadruplet"] else "N only",
    }


def say_peers(record: dict) -> Markdown:
    """What each peer takes beside this package's way to the same answer."""
    rows = {row["name"]: row for row in side_by_side(record)}
    lines = []
    for row in record.get("peers", []):
        if "not_run" in row:
            reason = escape(row["not_run"], quote=False)
            lines.append(f"- {row['title']}: not run ({reason}).")
            continue
        ours = rows["method2" if row["quadruplet"] else "hardest_negative"]
        if row["n"] != ours["n"]:
            lines.append(
                f"- {row['title']}: {row['n']:,} samples were the most that fit, of "
                f"{ours['n']:,}."
            )
            continue
        times = row["seconds"] / ours["seconds"]
        lines.append(
            f"- {row['title']}: {number(times)} × the time of {ours['title'].lower()}."
        )
    return Markdown("\n".join(lines) or "Not run, so nothing can be said.")


def side_by_side(record: dict) -> list[dict]:
    """What this package and its peers were asked to do on the same inputs."""
    ours = [
        row
        for row in record.get("selection", [])
        if row["embeddings"] == "clustered" and row["name"] != "recall"
    ]
    return ours + record.get("peers", [])


# --- how far --------------------------------------------------------------------


def show_approximate(record: dict) -> Styler | Markdown:
    """The approximate index beside the exact search, for each number of probes."""
    rows = record.get("approximate", [])
    if not rows or "not_run" in rows[0]:
        return Markdown("Not run.")
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
        for row in rows
    )
    return show_table(shown.set_index("embeddings"), "embeddings")


def arithmetic(
    record: dict, sizes: Sequence[int] = (10**7, 10**9), d: int = 1024
) -> Styler | Markdown:
    """What larger galleries would need. Computed, not measured.

    Bytes are N × D × 4. Time for 1,000 references is 2 × 1000 × N × D by the speed of
    the largest product that was measured, times Method 2's multiple of it.
    """
    if not record.get("growth_n"):
        return Markdown("Not run, so nothing can be computed.")
    largest = max(record["growth_n"], key=lambda row: row["n"] * row["b"])
    work = 2 * largest["b"] * largest["n"] * largest["d"]
    speed = work / largest["seconds"]  # of Method 2, in operations a second
    rows = {}
    for n in sizes:
        took = 2 * 1000 * n * d / speed
        rows[f"{n:,}"] = {
            "embeddings (float32)": f"{4 * n * d / 2**30:,.0f} GiB",
            "1,000 references, here": _duration(took),
            "shards of 64 GiB": math.ceil(4 * n * d / 2**36),
        }
    table = pd.DataFrame(rows.values(), index=rows)
    return show_table(table, f"N, with D = {d:,}")


# --- GPU -------------------------------------------------------------------------


def show_gpu(record: dict) -> Styler | Markdown:
    """Selection on a GPU beside the product in float32 and TF32."""
    if not record:
        return Markdown("Not run.")
    shown = pd.DataFrame(
        {
            "method": row["method"],
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


def show_training(record: dict) -> Styler | Markdown:
    """Images a second of training on a GPU, beside a loop without selection."""
    if not record:
        return Markdown("Not run.")
    shown = pd.DataFrame(
        {
            "torch.compile": "yes" if row["compiled"] else "no",
            "trunk": row["trunk"],
            "side": row["side"],
            "plain loop, images/s": number(row["plain"]),
            "with selection": number(row["selecting"]),
            "ratio": number(row["ratio"]),
            "refresh of N, s": number(row["refresh"]),
            "N": f"{row['n']:,}",
        }
        for row in record["training"]
    )
    return show_table(shown.set_index("torch.compile"), "torch.compile")


def _mib(memory: int | str) -> str:
    """Bytes in MiB; a dash for a word in their place."""
    return f"{memory / 2**20:.0f}" if isinstance(memory, int) else "–"


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} seconds"
