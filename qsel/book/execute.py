"""Executes notebooks with papermill: side by side, and only where stale.

A notebook runs in a kernel, a process of its own, and ends up as a page: the executed
notebook without times and paths, with a fingerprint of what it was executed from. The
runs of Table 1 are one notebook, executed once for each row and seed; its page lies
beside the run's record.

However the program that drives them ends, its kernels end within a second: they watch
for it. What they leave is whole, since files are written whole, and the next call goes
on from there.
"""

import json
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from papermill.exceptions import PapermillExecutionError

from qsel import data as datasets
from qsel.book import pages
from qsel.book.jobs import Job, side_by_side
from qsel.data.files import locked
from qsel.experiments import config, row_names, table1
from qsel.experiments.record import Record, writable
from qsel.experiments.rows import ROWS, UNTRAINED
from qsel.experiments.run import evaluable

RUN = "table1_run.ipynb"  # executed once for each row and seed of Table 1


class NotebookError(RuntimeError):
    """A notebook that cannot be executed as asked, or failed."""


def run_table(
    root: Path,
    preset: str,
    source: str,
    runs: str = "runs",
    seeds: Sequence[int] | None = None,
    rows: Sequence[str] | None = None,
    settings: dict[str, str] | None = None,
    at_once: int | None = None,
) -> list[str]:
    """Execute the run notebook once for each row and seed; runs that are done are kept.

    Args:
        root: of the repository.
        preset: see ``qsel.experiments.config``.
        source: as for ``qsel.data.load``.
        runs: the folder that holds all runs.
        seeds: which runs of each row; by default the preset's own number. Rows without
            training have seed 0 alone.
        rows: by default those of the paper, the control, and those without
            training.
        settings: changes to the preset.
        at_once: runs side by side, see ``qsel.book.jobs``.

    Returns:
        What failed: for each failed run its notebook, cell and traceback, which are
        printed when it fails. The others are done.

    Raises:
        NotebookError: nothing can run as asked; said before the first kernel starts.
    """
    notebook = root / "notebooks" / RUN
    if not notebook.is_file():
        raise NotebookError(
            f"no notebooks/{RUN} in {root}; run from the root of the repository"
        )
    settings = settings or {}
    config.preset(preset)
    rows = row_names.BY_DEFAULT if rows is None else tuple(rows)
    if unknown := [row for row in rows if row not in (*UNTRAINED, *ROWS)]:
        raise NotebookError(
            f"no row {unknown[0]!r}; expected some of {', '.join((*UNTRAINED, *ROWS))}"
        )
    seeds = range(table1.SEEDS[preset]) if seeds is None else seeds
    # Rows without training take seconds, and fill the caches that the others read.
    untrained = [(row, 0) for row in rows if row in UNTRAINED and 0 in seeds]
    trained = [(row, seed) for seed in seeds for row in rows if row not in UNTRAINED]
    if not untrained + trained:
        raise NotebookError(
            f"nothing to run: rows without training have seed 0 alone, asked for "
            f"{', '.join(rows)} with seeds {list(seeds)}"
        )

    def epochs(row: str, seed: int) -> int:
        changed = config.preset(preset, row).with_settings(settings | {"seed": seed})
        return 0 if row in UNTRAINED else changed.epochs

    def job(row: str, seed: int) -> Job:
        parameters = {"method": row, "seed": seed, "preset": preset, "data": source}
        parameters |= {"runs": runs, "settings": json.dumps(settings)}
        folder = table1.run_folder(root / runs, source, preset, row, seed)

        def work(gpu: str | None, watch: Callable[[str], None]) -> str | None:
            with locked(folder / "lock") as mine:
                if not mine:
                    return None
                for left in folder.glob("*.part"):  # by a process that was killed
                    left.unlink()
                page, record = folder / RUN, folder / "record.json"
                if not record.exists():
                    page.unlink(missing_ok=True)
                execute(notebook, page, parameters, root, [record], gpu, watch)
                return f"R@1 {100 * Record.load(record).metrics['R@1']:.2f}"

        return Job(f"{row}, seed {seed}", work, epochs(row, seed))

    jobs = [job(row, seed) for row, seed in untrained + trained]
    writable(table1.run_folder(root / runs, source, preset, rows[0], 0), "--runs")
    evaluable(datasets.load(source).test)
    return side_by_side(jobs, "Table 1", stop_kernels, at_once, alone=len(untrained))


def execute(
    notebook: Path,
    page: Path,
    parameters: dict,
    root: Path,
    records: Sequence[Path] = (),
    gpu: str | None = None,
    watch: Callable[[str], None] = lambda text: None,
) -> None:
    """Execute one notebook, unless its page is fresh; keep only what a reader needs.

    Args:
        notebook: the source.
        page: where the executed one goes.
        parameters: values for its parameters cell.
        root: of the repository, where it runs.
        records: the run records that it shows or writes.
        gpu: the only one it sees, named as in CUDA_VISIBLE_DEVICES.
        watch: gets what the cells write to standard error.

    Raises:
        NotebookError: a cell failed, or the kernel died.
    """
    wanted = pages.fingerprint(notebook, parameters, root, records)
    if page.exists() and pages.executed_from(page).get("fingerprint") == wanted:
        return
    page.parent.mkdir(parents=True, exist_ok=True)
    unfinished = page.with_suffix(".part.ipynb")
    title = f"{notebook.name} with {parameters}"
    # The name of a socket has at most 107 bytes, 103 on macOS.
    short = None if len(os.fsencode(tempfile.gettempdir())) < 70 else "/tmp"
    with tempfile.TemporaryDirectory(prefix="qsel-", dir=short) as folder:
        try:
            papermill.execute_notebook(
                str(notebook),
                str(unfinished),
                parameters,
                kernel_name="python3",
                progress_bar=False,
                stderr_file=SimpleNamespace(write=watch, flush=lambda: None),
                kernel_manager_class=_kernel(Path(folder), gpu),
                resources={"metadata": {"path": str(root)}},
            )
        except PapermillExecutionError as error:
            trace = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback))
            raise NotebookError(
                f"{title}, cell {error.exec_count}:\n{trace}"
            ) from error
        except Exception as error:  # the kernel died, or did not start
            noise = Path(folder) / "noise"
            said = noise.read_text(errors="replace") if noise.exists() else ""
            raise NotebookError(
                f"{title}: {type(error).__name__}: {error}\n{said[-2000:]}"
            ) from error
    executed = nbformat.read(unfinished, as_version=4)
    shown = pages.shown(parameters)
    pages.tidy(executed, shown)
    wanted["runs"] = pages.digest_of(records)  # a run's record is new
    executed.metadata["qsel"] = {"fingerprint": wanted, "parameters": shown}
    nbformat.write(executed, unfinished)
    unfinished.replace(page)


# --- kernels ---------------------------------------------------------------------

_kernels: set[AsyncKernelManager] = set()  # those that run


def stop_kernels() -> None:
    """Kill every kernel that runs; its notebook fails."""
    for kernel in list(_kernels):
        if kernel.provisioner and kernel.provisioner.process:
            kernel.provisioner.process.kill()


def _kernel(folder: Path, gpu: str | None) -> type[AsyncKernelManager]:
    """A kernel with one GPU or one thread, and its files in a folder.

    It talks through sockets in that folder: no other program on the machine can take
    them, as it can take a TCP port between the choice and the use.
    """

    class Kernel(AsyncKernelManager):
        def __init__(self, **options):
            where = str(folder / "kernel.json")
            super().__init__(transport="ipc", connection_file=where, **options)

        async def start_kernel(self, **options):
            # Kernels that share cores fight over them. And a sum in another number of
            # threads is another sum: so results do not depend on how many run.
            own = {"OMP_NUM_THREADS": "1"} if gpu is None else {}
            env = own | os.environ
            if gpu is not None:
                env["CUDA_VISIBLE_DEVICES"] = gpu
            _kernels.add(self)
            with (folder / "noise").open("wb") as noise:
                await super()._async_start_kernel(**options, env=env, stderr=noise)

        async def cleanup_resources(self, restart: bool = False):
            _kernels.discard(self)
            await super()._async_cleanup_resources(restart)

    return Kernel
