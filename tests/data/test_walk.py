import os

import pytest

from qsel.data.pictures import DataError
from qsel.data.walk import images_below, summary


@pytest.fixture
def root(tmp_path, draw):
    for name in ("a/m/0.png", "a/n/1.JPG", "b/o/2.png"):
        draw(tmp_path / "mine" / name)
    return tmp_path / "mine"


def refused(root, *said):
    with pytest.raises(DataError) as caught:
        images_below(root)
    for words in said:
        assert words in str(caught.value)
    return str(caught.value)


def test_what_systems_leave_behind_is_passed_over_and_counted(root):
    litter = ["Thumbs.db", "a/desktop.ini", "a/m/._0.png", "b/.DS_Store", "README"]
    for name in [*litter, "__MACOSX/a/m/0.png", ".cache/x.png", "a/notes.TXT"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    images, passed = images_below(root)
    below = [path.relative_to(root).as_posix() for path in images]
    assert below == ["a/m/0.png", "a/n/1.JPG", "b/o/2.png"]
    found = {path.relative_to(root).as_posix() for path in passed}
    assert found == {*litter, "__MACOSX", ".cache", "a/notes.TXT"}
    assert summary(root, passed).startswith("8 files that are no images were passed")
    assert summary(root, passed[:1]).startswith("1 file that is no image was passed")


def test_everything_that_is_wrong_is_said_at_once(root):
    for name in ("clip.mp4", "a/m/x.xml", "b/raw"):
        (root / name).write_text("x")
    (root / "b" / "empty").mkdir()
    said = refused(root, "4 problems", "clip.mp4: neither", "x.xml: neither")
    assert "b/raw: neither" in said and "b/empty: no image in this folder" in said
    for i in range(25):
        (root / "a" / "m" / f"{i}.xml").write_text("x")
    assert refused(root, "29 problems", "and 19 more").count("\n") == 11


def test_links_are_followed_but_not_in_circles(root, tmp_path, draw):
    draw(tmp_path / "other" / "3.png")
    os.symlink(tmp_path / "other", root / "b" / "p")
    assert root / "b" / "p" / "3.png" in images_below(root)[0]
    os.symlink(root, root / "a" / "again")
    refused(root, f"{root / 'a' / 'again'}: a link back to a folder that holds it")


def test_a_name_that_is_not_utf8_is_refused(root):
    os.rename(root / "a" / "m", os.fsencode(root / "a") + b"/\xff")
    refused(root, r"a/\xff/0.png': not UTF-8; rename it")
