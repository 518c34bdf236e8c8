"""What is installed, and what the book is made of, agree with one another."""

import ast
import contextlib
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import qsel

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
EXTRAS = PROJECT["optional-dependencies"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def constraints() -> dict[str, Version]:
    pinned = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("==")
        pinned[canonicalize_name(name)] = Version(version)
    return pinned


def requirements() -> list[Requirement]:
    listed = [
        *PROJECT["dependencies"],
        *(r for extra in EXTRAS.values() for r in extra),
    ]
    return [r for r in map(Requirement, listed) if r.name != "qsel"]  # its own extras


# --- versions --------------------------------------------------------------------


def test_constraints_hold_names_and_versions_only():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==\d[\w.!]*", line), line
    names = [canonicalize_name(line.partition("==")[0]) for line in lines]
    assert len(set(names)) == len(names)
    assert "qsel" not in names


def test_every_requirement_is_listed_once_and_pinned_within_its_range():
    pinned = constraints()
    names = [canonicalize_name(requirement.name) for requirement in requirements()]
    assert len(set(names)) == len(names)
    for requirement in requirements():
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} is not in constraints.txt"
        assert pinned[name] in requirement.specifier, f"{requirement}: {pinned[name]}"


def test_what_is_pinned_runs_on_the_oldest_python_that_is_promised():
    """Debian 12 has Python 3.11.2; a pin that wants 3.11.5 stops the install there."""
    (oldest,) = (s.version for s in SpecifierSet(PROJECT["requires-python"]))
    for name, pinned in constraints().items():
        with contextlib.suppress(metadata.PackageNotFoundError):
            wants = metadata.metadata(name)["Requires-Python"] or ""
            if Version(metadata.version(name)) == pinned:
                assert SpecifierSet(wants).contains(f"{oldest}.0"), f"{name}: {wants}"


def test_pinned_torch_and_torchvision_are_a_pair():
    pinned = constraints()
    if Version(metadata.version("torchvision")).public != str(pinned["torchvision"]):
        pytest.skip("another torchvision is installed than the pinned one")
    wanted = [Requirement(text) for text in metadata.requires("torchvision")]
    (torch,) = (r for r in wanted if r.name == "torch" and not r.marker)
    assert pinned["torch"] in torch.specifier


def test_conda_environment_installs_the_same():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    listed = yaml.safe_load(text)["dependencies"]
    (by_pip,) = (entry["pip"] for entry in listed if isinstance(entry, dict))
    assert any(re.fullmatch(r"(-c|--constraint) constraints\.txt", e) for e in by_pip)
    (installed,) = (e for e in by_pip if "constraint" not in e)
    extras = re.fullmatch(r"(?:(?:-e|--editable) )?\.\[(.*)\]", installed).group(1)
    assert set(extras.split(",")) == set(EXTRAS)
    (python,) = (
        Requirement(entry)
        for entry in listed
        if isinstance(entry, str) and entry.startswith("python")
    )
    assert python.specifier == SpecifierSet(PROJECT["requires-python"])
    assert "pip" in listed


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert qsel.__version__ == PROJECT["version"] == str(citation["version"])
    assert metadata.version("qsel") == PROJECT["version"]


def test_the_package_imports_only_what_it_requires():
    # Modules of distributions with other names, or of parts of them.
    brings = {"PIL": "pillow", "sklearn": "scikit-learn", "umap": "umap-learn"}
    brings |= {"yaml": "jupyter-book", "threadpoolctl": "scikit-learn"}
    brings |= dict.fromkeys(("nbformat", "jupyter_client"), "papermill")
    brings |= dict.fromkeys(("IPython", "nbconvert", "matplotlib_inline"), "jupyter")
    required = {canonicalize_name(requirement.name) for requirement in requirements()}
    for path in (ROOT / "qsel").rglob("*.py"):
        names = []
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names += [node.module]
        for name in {name.partition(".")[0] for name in names}:
            package = canonicalize_name(brings.get(name, name))
            known = {*required, "qsel", *sys.stdlib_module_names}
            assert name in known or package in known, f"{path.name}: {name}"


def test_without_the_extras_the_command_line_says_what_to_install():
    code = (
        "import sys; sys.modules['typer'] = None; import qsel.__main__ as q; q.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and "pip install 'qsel[experiments]'" in done.stderr
    assert "Traceback" not in done.stderr


# --- the book --------------------------------------------------------------------


def test_every_page_is_in_the_contents_once():
    text = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^[-\s]*(?:file|root): (\S+)$", text, re.MULTILINE)
    assert len(set(listed)) == len(listed)
    pages = [*NOTEBOOKS, *(ROOT / "book").glob("*.md")]
    names = {page.relative_to(ROOT).with_suffix("").as_posix() for page in pages}
    assert names == set(listed)


def test_the_index_lists_every_page_with_its_reading_time():
    index = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[.+?\]\((.+?)\) \|.*\| (\d+) \|$", index, re.MULTILINE)
    listed = {(ROOT / "book" / link).resolve(): int(minutes) for link, minutes in rows}
    unlisted = {ROOT / "book" / name for name in ("index.md", "bibliography.md")}
    pages = {*NOTEBOOKS, *(ROOT / "book").glob("*.md")} - unlisted
    assert listed.keys() == pages
    for page, minutes in listed.items():
        said = re.search(r"Reading time: (\d+)", page.read_text(encoding="utf-8"))
        assert said is None or int(said[1]) == minutes, page.name


def test_every_word_of_the_glossary_leads_to_a_chapter():
    page = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    (entries,) = re.findall(r"```{glossary}\n(.*?)```", page, re.DOTALL)
    words = []
    for entry in entries.strip().split("\n\n"):
        word, text = entry.split("\n", 1)
        words.append(word)
        assert re.search(r"\]\((\.\./notebooks/|erratum-|the-|[\w-]+\.md)", text), word
    # In the order of a dictionary, in which signs and capitals do not count.
    keys = [re.sub(r"[^a-z0-9@]", "", word.partition(",")[0].lower()) for word in words]
    assert keys == sorted(keys) and len(set(words)) == len(words)


def test_stored_notebooks_are_clean():
    for path in NOTEBOOKS:
        text = path.read_text(encoding="utf-8")
        assert len(text) < 1_300_000, f"{path.name}: save its figures smaller"
        found = re.search(r"(?<![\w.:/])/(home|root|work|tmp|Users|mnt)/[\w.-]+", text)
        assert found is None, (path.name, found)
        notebook = json.loads(text)
        assert notebook["nbformat"] == 4 and "papermill" not in notebook["metadata"]
        for cell in notebook["cells"]:
            for output in cell.get("outputs", []):
                assert output["output_type"] != "error", (path.name, output)
                assert output.get("name") != "stderr", (path.name, output)
