"""A public repository: its buttons, and notebooks that install what they need."""

import re

import nbformat
import pytest
import yaml
from tiny_notebook import notebook

from qsel.book.build import BookError
from qsel.book.publish import checked, config, for_colab

ADDRESS = "https://github.com/somebody/something"


@pytest.fixture
def root(tmp_path):
    """Two notebooks, one of which is no longer as it was written by hand."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_toc.yml").touch()
    for name in ("1_one", "2_two"):
        notebook(tmp_path / "notebooks" / f"{name}.ipynb", "print(1)")
    return tmp_path


def test_the_address_of_a_repository():
    assert checked(f"{ADDRESS}/") == checked(f"{ADDRESS}.git") == ADDRESS
    for wrong in ("somebody/something", f"{ADDRESS}/tree/main", "https://github.com/a"):
        with pytest.raises(ValueError, match="expected https://github.com/OWNER/NAME"):
            checked(wrong)


def test_configuration_with_a_repository_has_its_buttons(pytestconfig, tmp_path):
    source = (pytestconfig.rootpath / "_config.yml").read_text(encoding="utf-8")
    (tmp_path / "_config.yml").write_text(source, encoding="utf-8")
    plain = yaml.safe_load(source)
    assert "repository" not in plain and "launch_buttons" not in plain
    assert not any(v for k, v in plain["html"].items() if k.endswith("_button"))
    written = config(tmp_path, ADDRESS)
    assert written.parent == tmp_path / "_build"  # the checkout stays as it is
    found = yaml.safe_load(written.read_text(encoding="utf-8"))
    assert found["repository"]["url"] == ADDRESS
    assert found["launch_buttons"]["colab_url"].endswith("colab.research.google.com")
    assert found["html"]["use_repository_button"] and found["html"]["use_issues_button"]
    assert found.pop("repository")["branch"] == "colab"
    found.pop("launch_buttons")
    for settings in (plain, found):
        for button in ("repository", "issues"):
            settings["html"].pop(f"use_{button}_button")
    assert found == plain


def test_every_notebook_installs_first(root, tmp_path):
    copies = for_colab(root, ADDRESS, tmp_path / "out")
    assert [path.name for path in copies] == ["1_one.ipynb", "2_two.ipynb"]
    for copy in copies:
        found = nbformat.read(copy, as_version=4)
        nbformat.validate(found)
        first, *rest = found.cells
        assert first.cell_type == "code"
        assert f"git clone --quiet --depth 1 {ADDRESS} something" in first.source
        assert "%cd something\n%pip install" in first.source
        before = nbformat.read(root / "notebooks" / copy.name, as_version=4)
        assert rest == before.cells


def test_the_books_own_notebooks_are_not_written_over(root):
    before = (root / "notebooks" / "1_one.ipynb").read_bytes()
    for out in (root, root / "notebooks" / ".."):
        with pytest.raises(BookError, match="are the book's own; give another --out"):
            for_colab(root, ADDRESS, out)
    assert (root / "notebooks" / "1_one.ipynb").read_bytes() == before


def test_only_the_workflow_publishes_and_it_names_no_address(pytestconfig):
    workflow = pytestconfig.rootpath / ".github" / "workflows" / "pages.yml"
    text = workflow.read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    used = {step["uses"].partition("@")[0] for step in steps if "uses" in step}
    assert {name.partition("/")[0] for name in used} == {"actions"}
    commands = "\n".join(step["run"] for step in steps if "run" in step)
    repository = "${{ github.server_url }}/${{ github.repository }}"
    assert text.count(repository) == 1 and "github.com/" not in text
    assert 'qsel book --stored --strict --repository "$REPOSITORY"' in commands
    assert 'qsel colab --repository "$REPOSITORY"' in commands


def test_what_the_workflow_installs_may_not_write(pytestconfig):
    workflow = pytestconfig.rootpath / ".github" / "workflows" / "pages.yml"
    found = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    assert found["permissions"] == {}
    for name, job in found["jobs"].items():
        commands = "\n".join(step.get("run", "") for step in job["steps"])
        writes = "write" in job["permissions"].values()
        assert writes != (name == "render")
        installs = re.search(r"\bpip |^qsel ", commands, re.MULTILINE)
        assert bool(installs) == (name == "render")
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"] == {"persist-credentials": False}
