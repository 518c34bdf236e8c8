import pytest

from qsel.data import DataError, load, source_name, split_source, validation_of


@pytest.fixture
def photos(tmp_path, draw):
    def build(name):
        for k in range(24):
            draw(tmp_path / name / f"c{k // 12}" / f"f{k // 4}" / f"{k}.png", k)
        return tmp_path / name

    return build


@pytest.mark.parametrize("name", ["who is this?", "a?b", "a?b?c=d"])
def test_a_question_mark_in_the_name_of_a_folder(photos, name):
    root = photos(name)
    assert split_source(root) == (str(root), {})
    assert split_source(f"{root}?seed=3") == (str(root), {"seed": 3})
    whole = load(root, seed=3).train.fingerprint
    assert load(f"{root}?seed=3").train.fingerprint == whole
    named = source_name(f"{root}?seed=3")
    assert named == name.replace("?", "%3F") + "?seed=3"
    assert load(root.parent / named).train.fingerprint == whole


def test_a_plus_sign_is_a_plus_sign():
    assert split_source("a?test=b+c.txt&coarse=x%26y")[1] == {
        "test": "b+c.txt",
        "coarse": "x&y",
    }
    assert split_source("a?test=12")[1] == {"test": "12"}  # a file, no number


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("lists/unseen.txt", "lists/unseen.txt"),
        ("{root}/lists/unseen.txt", "lists/unseen.txt"),
        ("{root}/../unseen.txt", "unseen.txt"),
        ("../unseen.txt", "unseen.txt"),
        ("/somewhere/my+list.txt", "my%2Blist.txt"),
        ("~/unseen.txt", "unseen.txt"),
    ],
)
def test_a_record_holds_no_folder_of_the_machine(tmp_path, given, kept):
    root = tmp_path / "photos"
    source = f"{root}?min_images=3&test={given.format(root=root)}&skip_bad=1"
    assert source_name(source) == f"photos?min_images=3&test={kept}&skip_bad=1"


@pytest.mark.parametrize(
    "source", ["absent", "a" * 5000, "nul\0byte", "~nobody-of-this-name/x"]
)
def test_what_is_no_folder_is_refused_in_words(source):
    with pytest.raises(DataError, match="is neither a data set nor a folder; give"):
        load(source)


def test_settings_are_chosen_on_another_drawing_of_synthcars():
    source = "synthcars?images_per_model=1&size=16"
    data, split = load(source), validation_of(source)
    assert split.train.fingerprint == data.train.fingerprint
    other = load(f"{source}&seed=1").test.fingerprint
    assert split.test.fingerprint == other != data.test.fingerprint
    assert split.notes == ("held out: the test half of the drawing with seed=1",)
    assert "seed=6" in validation_of(f"{source}&seed=5").notes[0]


def test_settings_are_chosen_on_siblings_of_a_folder_s_classes(tmp_path, draw):
    root = tmp_path / "cars"
    for k in range(24):
        draw(root / f"c{k // 12}" / f"f{k // 2}" / f"{k}.png", k)
    names = load(root, seed=1).train.hierarchy.fine_names
    split = validation_of(f"{root}?seed=1")
    parts = split.train.hierarchy.fine_names, split.test.hierarchy.fine_names
    assert sorted(parts[0] + parts[1]) == sorted(names) and parts[1]
    assert "drawn at random" in split.notes[0]
