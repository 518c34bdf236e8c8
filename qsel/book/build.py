"""The book: every notebook executed, every page checked, all of it rendered.

Everything happens in ``_build/stage``, a copy of the sources with executed notebooks,
so that the checkout stays as it is; ``store`` brings the executed notebooks back. A
notebook is executed again only where its page is no longer fresh, see
``qsel.book.pages``.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import papermill

from qsel.book import errata, pages
from qsel.book.execute import RUN, NotebookError, execute, run_table, stop_kernels
from qsel.book.jobs import Job, side_by_side
from qsel.data.files import locked
from qsel.experiments import table1

SHOWN = ("method2", 0)  # the run whose notebook is a page of the book
COPIED = ("_config.yml", "_toc.yml", "book", "qsel")


class BookError(RuntimeError):
    """The book could not be executed or rendered, or has stale pages."""


def sources(root: Path) -> Path:
    """The root of the repository itself, where the book's sources lie there.

    Raises:
        BookError: they do not.
    """
    if not (root / "_toc.yml").is_file():
        raise BookError(
            f"no _toc.yml in {root}; run from the root of the repository, where the "
            "book's sources lie"
        )
    return root


def stage(root: Path) -> Path:
    """The copy of the sources that holds the executed notebooks."""
    return root / "_build" / "stage"


def execute_all(
    root: Path,
    preset: str,
    source: str,
    seeds: int | None = None,
    store: bool = False,
    at_once: int | None = None,
) -> list[str]:
    """Execute every notebook in a preset, the runs of Table 1 first.

    Whatever fails, the others go on. A chapter that shows a run that failed has a hole
    in its place; a notebook that failed becomes a page that says so, see
    ``qsel.book.pages.not_executed``.

    Args:
        root: of the repository.
        preset: see ``qsel.experiments.config``.
        source: as for ``qsel.data.load``.
        seeds: runs of each row of Table 1; by default the preset's own number.
        store: copy the executed notebooks back to ``notebooks/``, unless one failed.
        at_once: notebooks side by side, see ``qsel.book.jobs``.

    Returns:
        What failed, one text for each notebook; its first line names it.

    Raises:
        BookError: another program is executing this book.
        NotebookError: nothing can run as asked.
    """
    with locked(sources(root) / "_build" / "lock") as mine:
        if not mine:
            raise BookError(
                f"another program is executing the book in {root}; wait for it, or use "
                "a second checkout"
            )
        wanted = None if seeds is None else range(seeds)
        failed = run_table(root, preset, source, seeds=wanted, at_once=at_once)
        failed += _execute_chapters(root, preset, source, at_once)
        for name in COPIED:
            _mirror(root / name, stage(root) / name)
        errata.write(root, stage(root))
        if store and not failed:
            for page in (stage(root) / "notebooks").glob("*.ipynb"):
                shutil.copy(page, root / "notebooks" / page.name)
            errata.write(root, root)
        return failed


def _execute_chapters(
    root: Path, preset: str, source: str, at_once: int | None
) -> list[str]:
    staged = stage(root) / "notebooks"
    staged.mkdir(parents=True, exist_ok=True)
    for page in staged.glob("*.ipynb"):  # of notebooks that are no longer there
        if not (root / "notebooks" / page.name).exists():
            page.unlink()
    shown = table1.run_folder(root / "runs", source, preset, *SHOWN)
    if (shown / RUN).is_file():
        shutil.copy2(shown / RUN, staged / RUN)  # with its time: for the renderer
    else:
        reason = "the run that this page shows failed"
        pages.write_not_executed(root / "notebooks" / RUN, staged / RUN, reason)
    records = sorted(shown.parent.rglob("record.json"))
    parameters = {"preset": preset, "data": source, "runs": "runs"}

    def job(chapter: Path) -> Job:
        def work(gpu: str | None, watch: Callable[[str], None]) -> str:
            page = staged / chapter.name
            try:
                declared = papermill.inspect_notebook(str(chapter))
                wanted = {k: v for k, v in parameters.items() if k in declared}
                shows = records if "runs" in declared else []
                execute(chapter, page, wanted, root, shows, gpu, watch)
            except NotebookError as error:
                pages.write_not_executed(chapter, page, str(error))
                raise
            return "done"

        return Job(chapter.stem, work)

    chapters = sorted((root / "notebooks").glob("*.ipynb"))
    jobs = [job(chapter) for chapter in chapters if chapter.name != RUN]
    return side_by_side(jobs, "Chapters", stop_kernels, at_once)


def check(root: Path) -> None:
    """Compare every stored page with the code, data and results that it shows.

    So too what the errata say of the recorded ablations, see ``qsel.book.errata``.

    What a page shows of ``runs/`` is not compared: a fresh clone has none.

    Raises:
        BookError: pages that are no longer what would be executed now; each is named,
            with what changed. Or there are no sources.
    """
    stale = []
    for page in sorted((sources(root) / "notebooks").glob("*.ipynb")):
        if why := _stale(page, root):
            stale.append(f"  notebooks/{page.name}: {why}")
    if errata.is_stale(root):
        stale.append(f"  {errata.PAGE.as_posix()}: results changed")
    if stale:
        raise BookError(
            f"{len(stale)} stored pages no longer show what they were executed from; "
            "make book BOOK_OPTIONS=--store executes them again\n" + "\n".join(stale)
        )


def _stale(page: Path, root: Path) -> str | None:
    if not (stored := pages.executed_from(page)):
        return "never executed by this version of the book"
    try:
        found = pages.fingerprint(page, stored["parameters"], root)
    except ValueError as error:  # its data is not at hand
        return str(error)
    before = stored["fingerprint"]
    parts = [k for k in found if k != "runs" and found[k] != before.get(k)]
    return f"{', '.join(parts)} changed" if parts else None


def render(
    source: Path,
    root: Path,
    strict: bool = False,
    config: Path | None = None,
    builder: str = "html",
) -> Path:
    """Render a folder of sources to a folder in ``_build`` that bears Sphinx's builder.

    Args:
        source: folder with ``_config.yml`` and ``_toc.yml``.
        root: of the repository.
        strict: warnings are errors.
        config: a file with other settings than the sources' own.
        builder: "html", or "singlehtml" for all on one page.

    Raises:
        BookError: the renderer failed; its output stands above.
    """
    program = Path(sys.executable).with_name("jupyter-book")  # of this environment
    words = [str(program), "build", str(source), "--path-output", str(root)]
    words += ["--builder", builder, *["-W", "-n", "--keep-going"] * strict]
    if config:
        words += ["--config", str(config)]
    if subprocess.run(words).returncode:
        raise BookError("the book could not be rendered; the reason stands above")
    return root / "_build" / builder


def _mirror(source: Path, copy: Path) -> None:
    """Copy a file or a folder, and leave nothing behind that is no longer there."""
    if source.is_file():
        shutil.copy2(source, copy)
    elif source.is_dir():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
