"""The commands that render the book, and hand out its notebooks and figures."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from qsel.commands import Data, Jobs, Preset


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
    from qsel import book
    from qsel.jobs import stoppable
    from qsel.publish import book as printed
    from qsel.publish import notebooks as public

    given = {"--store": store, "--stored": stored, "--check": check}
    if check:  # nothing is rendered
        given |= {"--repository": repository, "--pdf": pdf}
    if len(words := [word for word, value in given.items() if value]) > 1:
        raise ValueError(f"{' and '.join(words)} exclude each other; give one of them")
    root = book.sources(Path.cwd())
    if check:
        try:
            book.check(root)
        except book.BookError as error:
            print(f"qsel: {error}", file=sys.stderr)
            raise typer.Exit(1) from error
        print("every page, notebooks and errata, matches what it shows")
        return
    # What cannot be done is said before the work, not after it.
    config = public.config(root, repository) if repository else None
    if pdf:
        printed.browser()
    failed: list[str] = []
    with stoppable("the same command goes on from what is done"):
        if not stored:
            failed = book.execute_all(root, preset, data, seeds, store, jobs)
        page = book.render(root if stored else book.stage(root), root, strict, config)
    if repository:
        public.lead_to_branch(page.parent, repository)
    print(f"the book: {page.as_uri()}")
    if pdf:
        print(f"on paper: {printed.pdf(root).as_uri()}")
    if failed:
        names = "".join(f"\n  {text.splitlines()[0]}" for text in failed)
        kept = "; nothing was stored" if store else ""
        print(
            f"qsel: {len(failed)} notebooks could not be executed, their pages say so"
            f"{kept}; the reasons stand above:{names}",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def colab(
    repository: Annotated[str, typer.Option(help="https://github.com/OWNER/NAME")],
    out: Annotated[Path, typer.Option(help="Folder for the notebooks.")],
) -> None:
    """Copy the notebooks, each with a first cell that installs the package on Colab.

    Colab finds them on the branch `colab`; .github/workflows/pages.yml puts them there.

    Example: `qsel colab --repository https://github.com/OWNER/NAME --out colab`
    """
    from qsel.publish import notebooks

    copies = notebooks.for_colab(Path.cwd(), repository, out)
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
    from qsel.exercises.notebooks import hand_out

    for one in hand_out(Path.cwd(), out):
        if one.path:
            print(f"{one.path}: exercises {', '.join(one.names)}")
        else:
            print(f"left out: {one.source.name} has no exercises")


def slides(
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path(
        "_build/slides"
    ),
) -> None:
    """Write the stored figures of the book as SVG and PDF, with their captions.

    Nothing is executed. Figures with thousands of points are PNG instead of SVG.

    Example: `qsel slides --out figures`
    """
    from qsel.figures_slides import export

    written = []
    for slide in export(Path.cwd(), out):
        if slide.picture:
            written.append(slide)
        else:
            print(f"left out: {slide.name}; its page has a sentence in its place")
    count = "1 figure" if len(written) == 1 else f"{len(written)} figures"
    print(f"{out}: {count}, with slides.pdf and captions.md")
