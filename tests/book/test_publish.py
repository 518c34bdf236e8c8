"""A public repository: its buttons, and notebooks that install what they need."""

import json
import re

import nbformat
import pytest
import yaml
from tiny_notebook import notebook

from qsel.book.build import BookError
from qsel.book.publish import TAG, checked, config, for_colab, lead_to_branch

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
    assert all(v for k, v in found["html"].items() if k.endswith("_button"))
    options = found["sphinx"]["config"]["html_theme_options"]
    assert options.pop("use_source_button")
    for part in ("repository", "launch_buttons"):
        found.pop(part)
    for settings in (plain, found):
        for button in ("repository", "issues", "edit_page"):
            settings["html"].pop(f"use_{button}_button")
    assert found == plain


def test_colab_buttons_lead_to_their_branch_and_no_other_does(tmp_path):
    colab = "https://colab.research.google.com/github/somebody/something/blob"
    links = [f"{colab}/main/notebooks/1.ipynb", f"{ADDRESS}/blob/main/1.ipynb"]
    page = tmp_path / "notebooks" / "1.html"
    page.parent.mkdir()
    page.write_text(json.dumps(links))
    (tmp_path / "index.html").write_text(links[1])
    assert lead_to_branch(tmp_path, ADDRESS) == 1
    assert json.loads(page.read_text()) == [
        f"{colab}/colab/notebooks/1.ipynb",
        links[1],
    ]
    assert (tmp_path / "index.html").read_text() == links[1]


def test_every_notebook_installs_first_and_once(root, tmp_path):
    out = tmp_path / "out"
    copies = for_colab(root, ADDRESS, out)
    assert [path.name for path in copies] == ["1_one.ipynb", "2_two.ipynb"]
    (out / "again").mkdir()
    (out / "again" / "_toc.yml").touch()
    (out / "notebooks").rename(out / "again" / "notebooks")
    for copy in for_colab(out / "again", ADDRESS, out):
        found = nbformat.read(copy, as_version=4)
        nbformat.validate(found)
        first, *rest = found.cells
        assert first.metadata.tags == [TAG] and first.cell_type == "code"
        assert f"git clone --quiet --depth 1 {ADDRESS} something" in first.source
        assert "%cd something\n%pip install" in first.source
        before = nbformat.read(root / "notebooks" / copy.name, as_version=4)
        assert rest == before.cells


def test_the_books_own_notebooks_are_not_written_over(root, tmp_path):
    before = (root / "notebooks" / "1_one.ipynb").read_bytes()
    for out in (root, root / "notebooks" / ".."):
        with pytest.raises(BookError, match="are the book's own; give another --out"):
            for_colab(root, ADDRESS, out)
    assert (root / "notebooks" / "1_one.ipynb").read_bytes() == before
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(BookError, match="run from the root of the repository"):
        for_colab(elsewhere, ADDRESS, elsewhere / "out")
    assert not elsewhere.exists()


def test_notebooks_here_install_nothing(pytestconfig):
    for path in (pytestconfig.rootpath / "notebooks").glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            assert TAG not in cell.metadata.get("tags", [])


def test_only_the_workflow_publishes_and_it_names_no_address(pytestconfig):
    workflow = pytestconfig.rootpath / ".github" / "workflows" / "pages.yml"
    text = workflow.read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    used = {step["uses"].partition("@")[0] for step in steps if "uses" in step}
    assert used == {
        f"actions/{name}"
        for name in (
            "checkout",
            "setup-python",
            "upload-pages-artifact",
            "deploy-pages",
            "upload-artifact",
            "download-artifact",
        )
    }
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
