"""Executes the notebooks with papermill and renders the book.

Everything happens in ``_build/stage``, a copy of the sources with executed notebooks,
so that the checkout stays as it is; ``store`` brings the executed notebooks back. A
notebook is executed again only if it, its parameters, the package, the data or the run
records that it shows changed.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import nbformat
import papermill
import torch
from papermill.exceptions import PapermillExecutionError
from tqdm import tqdm

from qsel import config, table1
from qsel import data as datasets

RUN = "table1_run.ipynb"  # executed once for each row and seed of Table 1
SHOWN = ("method2", 0)  # the run whose notebook is a page of the book
COPIED = ("_config.yml", "_toc.yml", "book", "qsel", "results")


class BookError(RuntimeError):
    """The book could not be executed or rendered."""


def stage(root: Path) -> Path:
    """The copy of the sources that holds the executed notebooks."""
    return root / "_build" / "stage"


def execute_all(
    root: Path,
    preset: str,
    source: str,
    seeds: int | None = None,
    store: bool = False,
) -> None:
    """Execute every notebook in a preset, the runs of Table 1 first.

    Args:
        root: of the repository.
        preset: see ``qsel.config``.
        source: as for ``qsel.data.load``.
        seeds: runs of each row of Table 1; by default the preset's own number.
        store: copy the executed notebooks back to ``notebooks/``.

    Raises:
        BookError: a notebook failed; all failures are named.
    """
    if not (root / "_toc.yml").is_file():
        raise BookError(
            f"no _toc.yml in {root}; run from the root of the repository, where the "
            "book's sources lie"
        )
    pages = stage(root) / "notebooks"
    parameters = {"preset": preset, "data": source, "runs": "runs"}
    run_table(root, preset, source, "runs", seeds)
    shown = _run_page(root, source, preset, *SHOWN)
    pages.mkdir(parents=True, exist_ok=True)
    for page in pages.glob("*.ipynb"):  # of notebooks that are no longer there
        if not (root / "notebooks" / page.name).exists():
            page.unlink()
    shutil.copy2(shown, pages / RUN)  # with its time: the renderer goes by it
    chapters = [
        p for p in sorted((root / "notebooks").glob("*.ipynb")) if p.name != RUN
    ]

    here = table1.run_folder(root / "runs", source, preset, *SHOWN).parent
    records = [
        record
        for folder in (here, root / "results")
        for record in sorted(folder.rglob("record.json"))
    ]

    def one(chapter: Path) -> None:
        declared = papermill.inspect_notebook(str(chapter))
        wanted = {k: v for k, v in parameters.items() if k in declared}
        # Chapters that show runs are stale once there are other runs to show.
        shows = records if "runs" in declared else []
        execute(chapter, pages / chapter.name, wanted, root, shows)

    _all_of(chapters, one, "chapters")
    for name in COPIED:
        _mirror(root / name, stage(root) / name)
    if store:
        for page in pages.glob("*.ipynb"):
            shutil.copy(page, root / "notebooks" / page.name)


def run_table(
    root: Path,
    preset: str,
    source: str,
    runs: str,
    seeds: int | None = None,
    methods: tuple[str, ...] = tuple(table1.METHODS),
    settings: dict[str, str] | None = None,
) -> None:
    """Execute the run notebook once for each row and seed; runs that are done are kept.

    Raises:
        BookError: some runs failed; the others are done, and all failures are named.
    """
    if not (root / "notebooks" / RUN).is_file():
        raise BookError(
            f"no notebooks/{RUN} in {root}; run from the root of the repository"
        )
    for method in methods:  # a mistake is told before the first kernel starts
        config.preset(preset, method).with_settings(settings or {})
    datasets.load(source)

    def one(job: tuple[str, int]) -> None:
        method, seed = job
        parameters = {"method": method, "seed": seed, "preset": preset, "data": source}
        parameters |= {"runs": runs, "settings": json.dumps(settings or {})}
        page = _run_page(root, source, preset, method, seed)
        record = table1.run_folder(root / runs, source, preset, method, seed)
        if not (record / "record.json").exists():
            page.unlink(missing_ok=True)
        execute(root / "notebooks" / RUN, page, parameters, root)

    seeds = table1.SEEDS[preset] if seeds is None else seeds
    todo = [(method, seed) for seed in range(seeds) for method in methods]
    _all_of(todo, one, "runs of Table 1")


def _run_page(root: Path, source: str, preset: str, method: str, seed: int) -> Path:
    folder = table1.run_folder(root / "_build" / "runs", source, preset, method, seed)
    return folder.with_name(folder.name + ".ipynb")


def _all_of(jobs: list, one: Callable, title: str) -> None:
    """Call ``one`` for each job, side by side on a CPU; report all failures at the end.

    The first goes alone: it fills the caches that the others read.
    """
    side_by_side = 1 if torch.cuda.is_available() else min(4, os.cpu_count() or 1)
    if side_by_side > 1:
        # Kernels that share the cores fight over them unless each has its own.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    failed = []

    def attempt(job: object) -> None:
        try:
            one(job)
        except BookError as error:
            failed.append(str(error))
        bar.update()

    with (
        tqdm(total=len(jobs), desc=title, unit="notebook") as bar,
        ThreadPoolExecutor(side_by_side) as pool,
    ):
        attempt(jobs[0])
        list(pool.map(attempt, jobs[1:]))
    if failed:
        raise BookError("\n".join(failed))


def execute(
    notebook: Path,
    page: Path,
    parameters: dict,
    root: Path,
    records: Sequence[Path] = (),
) -> None:
    """Execute one notebook, unless its page is fresh; keep only what a reader needs.

    Args:
        notebook: the source.
        page: where the executed one goes.
        parameters: values for its parameters cell.
        root: the folder it runs in.
        records: the run records that it shows.

    Raises:
        BookError: a parameter that the notebook does not declare (papermill would only
            log it), or a cell that failed.
    """
    declared = papermill.inspect_notebook(str(notebook))
    if unknown := sorted(set(parameters) - set(declared)):
        raise BookError(
            f"{notebook.name} declares no parameter {unknown[0]!r}; it has "
            f"{', '.join(declared) or 'none'}"
        )
    wanted = fingerprint(notebook, parameters, records)
    if page.exists() and _stored_fingerprint(page) == wanted:
        return
    page.parent.mkdir(parents=True, exist_ok=True)
    unfinished = page.with_suffix(".part.ipynb")
    try:
        papermill.execute_notebook(
            str(notebook),
            str(unfinished),
            parameters,
            cwd=str(root),
            kernel_name="python3",
            progress_bar=False,
            stderr_file=sys.stderr,  # progress bars of the cells
        )
    except PapermillExecutionError as error:
        raise BookError(
            f"{notebook.name}, cell {error.exec_count}, with {parameters}: "
            f"{error.ename}: {error.evalue}\n" + "\n".join(error.traceback[-3:])
        ) from error
    executed = nbformat.read(unfinished, as_version=4)
    if "data" in parameters:  # a page names the data, not the folders around it
        shown = parameters | {"data": datasets.source_name(parameters["data"])}
    else:
        shown = parameters
    _tidy(executed, shown)
    executed.metadata["qsel"] = {"fingerprint": wanted, "parameters": shown}
    nbformat.write(executed, unfinished)
    unfinished.replace(page)


def fingerprint(notebook: Path, parameters: dict, records: Sequence[Path] = ()) -> str:
    """What a page depends on: cells, parameters, the package, data, run records."""
    digest = hashlib.sha256()
    for cell in nbformat.read(notebook, as_version=4).cells:
        if "injected-parameters" not in cell.metadata.get("tags", []):
            digest.update(cell.source.encode())
    digest.update(json.dumps(parameters, sort_keys=True).encode())
    package = Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        if path.name not in ("book.py", "cli.py"):
            digest.update(path.read_bytes())
    for path in records:
        digest.update(path.read_bytes())
    if "data" in parameters:
        digest.update(_data_fingerprint(parameters["data"]).encode())
    return digest.hexdigest()[:16]


def render(source: Path, root: Path, strict: bool = False) -> Path:
    """Render a folder of sources to ``_build/html`` of the root.

    Raises:
        BookError: the renderer failed; its output stands above.
    """
    program = Path(sys.executable).with_name("jupyter-book")  # of this environment
    words = [str(program), "build", str(source)]
    words += ["--path-output", str(root), *(["-W", "-n", "--keep-going"] * strict)]
    if subprocess.run(words).returncode:
        raise BookError("the book could not be rendered; the reason stands above")
    return root / "_build" / "html" / "index.html"


@cache
def _data_fingerprint(source: str) -> str:
    data = datasets.load(source)
    return data.train.fingerprint + data.test.fingerprint


def _tidy(notebook: nbformat.NotebookNode, parameters: dict) -> None:
    """Take off progress bars, times and paths, so that a diff shows what changed."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"] = ["injected-parameters", "remove-input"]
            lines = [f"{name} = {value!r}" for name, value in parameters.items()]
            cell.source = "\n".join(["# Parameters", *lines])
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    _number_tables(notebook)


def _number_tables(notebook: nbformat.NotebookNode) -> None:
    """Give pandas' styled tables numbers for the random names they draw each time."""
    numbers: dict[str, str] = {}

    def number(name: re.Match) -> str:
        return numbers.setdefault(name[0], f"T_{len(numbers)}")

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:
                html = "".join(data["text/html"])
                data["text/html"] = re.sub(r"\bT_[0-9a-f]{5}", number, html)


def _stored_fingerprint(page: Path) -> str | None:
    return nbformat.read(page, as_version=4).metadata.get("qsel", {}).get("fingerprint")


def _mirror(source: Path, copy: Path) -> None:
    """Copy a file or a folder, and leave nothing behind that is no longer there."""
    if source.is_file():
        shutil.copy2(source, copy)
    elif source.is_dir():
        shutil.rmtree(copy, ignore_errors=True)
        ignored = shutil.ignore_patterns("__pycache__", "*.pt")
        shutil.copytree(source, copy, ignore=ignored, copy_function=shutil.copy2)
