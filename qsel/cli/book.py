"""The commands that render the book, and hand out its notebooks."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from qsel.cli.options import Data, Jobs, Preset, report_failures


def book(
    data: Data = "synthcars",
    preset: Preset = "laptop",
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Runs of each row; default: the preset's.")
    ] = None,
    store: Annotated[
        bool, typer.Option(help="Bring the executed notebooks back to notebooks/.")
    ] = False,
    stored: Annotated[
        bool, typer.Option(help="Execute nothing: render the outputs in notebooks/.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            help="Execute and render nothing: name the stored pages that no longer "
            "match the code, data and results that they show."
        ),
    ] = False,
    jobs: Jobs = None,
    strict: Annotated[bool, typer.Option(help="Warnings are errors.")] = False,
    repository: Annotated[
        str | None,
        typer.Option(
            help="https://github.com/OWNER/NAME: pages get buttons that lead there, "
            "and notebooks one to Colab, see `qsel colab`."
        ),
    ] = None,
    pdf: Annotated[
        bool, typer.Option(help="Print the book to _build/qsel.pdf, with Chromium.")
    ] = False,
) -> None:
    """Execute every notebook and render the book; what is fresh is not repeated.

    What fails leaves a hole: the rest is rendered, and the exit status is 1.

    Example: `qsel book --preset smoke`
    """
    from qsel.book import build
    from qsel.book import pdf as printed
    from qsel.book import publish as public
    from qsel.book.jobs import stoppable

    given = {"--store": store, "--stored": stored, "--check": check}
    if check:  # nothing is rendered
        given |= {"--repository": repository, "--pdf": pdf}
    if len(words := [word for word, value in given.items() if value]) > 1:
        raise ValueError(f"{' and '.join(words)} exclude each other; give one of them")
    root = build.sources(Path.cwd())
    if check:
        try:
            build.check(root)
        except build.BookError as error:
            print(f"qsel: {error}", file=sys.stderr)
            raise typer.Exit(1) from error
        print("every page, notebooks and errata, matches what it shows")
        return
    # What cannot be done is said before the work, not after it.
    config = public.config(root, repository) if repository else None
    if pdf:
        printed.browser()
    failed: list[str] = []
    source = root if stored else build.stage(root)
    with stoppable("the same command goes on from what is done"):
        if not stored:
            failed = build.execute_all(root, preset, data, seeds, store, jobs)
        site = build.render(source, root, strict, config)
    print(f"the book: {(site / 'index.html').as_uri()}")
    if pdf:
        print(f"on paper: {printed.pdf(source, root).as_uri()}")
    if failed:
        kept = "; nothing was stored" if store else ""
        report_failures(failed, f", as the pages say{kept}")


def colab(
    repository: Annotated[str, typer.Option(help="https://github.com/OWNER/NAME")],
    out: Annotated[Path, typer.Option(help="Folder for the notebooks.")],
) -> None:
    """Copy the notebooks, each with a first cell that installs the package on Colab.

    Colab finds them on the branch `colab`; .github/workflows/pages.yml puts them there.

    Example: `qsel colab --repository https://github.com/OWNER/NAME --out colab`
    """
    from qsel.book import publish

    copies = publish.for_colab(Path.cwd(), repository, out)
    print(f"{len(copies)} notebooks in {out / 'notebooks'}")


def exercises(
    out: Annotated[
        Path, typer.Option(help="Folder for the notebooks of the class.")
    ] = Path("_build/exercises"),
) -> None:
    """Write the chapters' notebooks for a class: no solutions, no outputs.

    A file that is there with other contents is not replaced: it may hold answers.

    Example: `qsel exercises --out lesson`
    """
    from qsel.book.exercises.notebooks import hand_out

    for path, names in hand_out(Path.cwd(), out).items():
        print(f"{path}: exercises {', '.join(names)}")
