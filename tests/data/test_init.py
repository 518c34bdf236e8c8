import pytest

from qsel.data import DataError, load, source_name, split_source, validation_of


def test_options_are_read_as_the_loader_takes_them(tmp_path, draw):
    for k in range(24):
        draw(tmp_path / "photos" / f"c{k // 12}" / f"f{k // 2}" / f"{k}.png", k)
    root = tmp_path / "photos"
    written = load(f"{root}?seed=3&test_fraction=0.3&split=classes")
    assert "drawn at random" in validation_of(f"{root}?seed=3").notes[0]
    given = load(root, seed=3, test_fraction=0.3)
    assert written.train.fingerprint == given.train.fingerprint
    for options, said in (
        ("size=3", "folder has no option 'size'; it has test_fraction, seed"),
        ("root=3", "no option 'root'"),
        ("seed=two", "folder: seed is 'two'; expected a whole number"),
        ("seed=1.5", "seed is '1.5'; expected a whole number"),
        ("test_fraction=half", "test_fraction is 'half'; expected a number"),
    ):
        with pytest.raises(DataError, match=said):
            load(f"{root}?{options}")
    with pytest.raises(DataError, match="synthcars has no option 'parts'; it has seed"):
        load("synthcars", parts=("train",))


def test_a_plus_sign_is_a_plus_sign():
    options = {"test": "b+c.txt", "coarse": "x&y"}
    assert split_source("a?test=b+c.txt&coarse=x%26y") == ("a", options)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("lists/unseen.txt", "lists/unseen.txt"),
        ("{root}/lists/unseen.txt", "lists/unseen.txt"),
        ("{root}/../unseen.txt", "unseen.txt"),
        ("/somewhere/my+list.txt", "my%2Blist.txt"),
        ("~/unseen.txt", "unseen.txt"),
    ],
)
def test_a_record_holds_no_folder_of_the_machine(tmp_path, given, kept):
    root = tmp_path / "photos"
    source = f"{root}?min_images=3&test={given.format(root=root)}&skip_bad=1"
    assert source_name(source) == f"photos?min_images=3&test={kept}&skip_bad=1"


@pytest.mark.parametrize("source", ["absent", "a" * 5000, "nul\0byte", "~nobody/x"])
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
