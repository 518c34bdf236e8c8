from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qsel.data.images import DataError, ImageSet
from qsel.data.splits import (
    ZeroShot,
    shortcomings,
    split_fine_classes,
    validation,
    zero_shot,
)
from qsel.hierarchy import Hierarchy


def hierarchy(sizes, images=2):
    """``sizes[c]`` fine classes under coarse class c, each of ``images`` images."""
    fine = [f"c{c}/f{f}" for c, n in enumerate(sizes) for f in range(n)]
    fine = [name for name in fine for _ in range(images)]
    return Hierarchy.from_names(fine, [name.split("/")[0] for name in fine])


def image_set(sizes, images=2):
    labels = hierarchy(sizes, images)
    pixels = np.arange(len(labels), dtype="uint8")[:, None, None, None]
    return ImageSet.from_array("cars", pixels.repeat(3, 1).repeat(2, 2), labels)


def names_of(images):
    return [images.hierarchy.fine_names[f] for f in images.hierarchy.fine.tolist()]


def test_zero_shot_divides_images_by_fine_class():
    images = image_set([3, 2])
    split = zero_shot(images, ["c0/f1", "c1/f0"])
    assert (split.name, split.train.name, split.test.name) == (
        "cars",
        "cars train",
        "cars test",
    )
    assert names_of(split.train) == ["c0/f1"] * 2 + ["c1/f0"] * 2
    assert len(split.train) + len(split.test) == len(images)
    whole = names_of(images)
    for side in (split.train, split.test):
        for i, name in enumerate(names_of(side)):
            assert whole[int(side[i][0, 0, 0])] == name  # the image went with its label


@pytest.mark.parametrize(
    ("train_fine", "said"),
    [
        (["c0/f1", "nope"], "no fine class is called 'nope'"),
        ([], "train side gets none of the 5"),
        ([f"c0/f{i}" for i in range(3)] + ["c1/f0", "c1/f1"], "test side gets none"),
    ],
)
def test_zero_shot_refuses(train_fine, said):
    with pytest.raises(DataError, match=said):
        zero_shot(image_set([3, 2]), train_fine)


def test_a_fine_class_on_both_sides_is_refused():
    images = image_set([3, 2])
    with pytest.raises(DataError, match="'c0/f1' is both trained and tested on"):
        ZeroShot("twice", images.subset(range(4)), images.subset(range(2, 10)))


@settings(max_examples=20)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**31),
)
def test_split_fine_classes_keeps_its_promises(sizes, fraction, seed):
    labels = hierarchy(sizes, images=1)
    train, test = split_fine_classes(labels, fraction, seed)
    assert sorted(train + test) == sorted(labels.fine_names)
    assert (train, test) == split_fine_classes(labels, fraction, seed)
    tested = Counter(name.split("/")[0] for name in test)
    for c, n in enumerate(sizes):
        count = tested[f"c{c}"]
        if n >= 2:
            assert 1 <= count <= n - 1
        if count not in (1, n - 1):
            assert abs(count - n * fraction) <= 0.5


@pytest.mark.parametrize(
    ("n", "fraction", "tested"),
    [(1, 0.5, 0), (1, 0.9, 1), (3, 0.5, 1), (2, 0.1, 1), (4, 0.9, 3), (10, 0.25, 2)],
)
def test_rounding_is_as_documented(n, fraction, tested):
    _, test = split_fine_classes(hierarchy([n]), fraction, seed=3)
    assert len(test) == tested


def test_the_draw_depends_on_names_not_on_their_order():
    labels = hierarchy([5, 4, 6])
    turned = labels.subset(torch.arange(len(labels)).flip(0))
    names = [labels.fine_names[f] for f in labels.fine.tolist()][::-1]
    turned = Hierarchy.from_names(names, [name.split("/")[0] for name in names])
    assert turned.fine_names != labels.fine_names
    for seed in range(5):
        here, there = (split_fine_classes(x, 0.5, seed) for x in (labels, turned))
        assert [set(side) for side in here] == [set(side) for side in there]


@pytest.mark.parametrize("fraction", [0, 1, float("nan")])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(DataError, match=f"held out is {fraction}; give a number"):
        split_fine_classes(hierarchy([4, 4]), fraction, seed=0)


def labelled(names):
    """Two images of each fine class, in two coarse classes by turns."""
    fine = [name for name in names for _ in range(2)]
    coarse = [f"c{names.index(name) % 2}" for name in fine]
    labels = Hierarchy.from_names(fine, coarse)
    pixels = np.zeros((len(fine), 3, 2, 2), "uint8")
    return ImageSet.from_array("cars", pixels, labels)


@pytest.mark.parametrize(
    ("groups", "held"),
    [
        ("aaaaaabb", 2),  # a quarter
        ("aaaaabbb", 3),  # more, for want of less
        ("aaaaaabc", 2),  # two groups
        ("aaabbbbc", 1),  # 1 is nearer to 2 than 5
        ("aabbaabb", 4),  # a group need not lie together
    ],
)
def test_the_last_groups_are_held_out_whole(groups, held):
    names = [f"{group}{i}" for i, group in enumerate(groups)]
    images = labelled(names)
    split = validation(images, groups)
    out = split.test.hierarchy.fine_names
    last = {name[0] for name in out}
    assert len(out) == held
    assert out == tuple(name for name in names if name[0] in last)
    assert split.notes == (f"held out: {', '.join(sorted(last))}",)
    assert len(split.train) + len(split.test) == len(images)


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ("aaaaaaaa", "8 groups, 1 of them different, for 8 fine classes"),
        ("aaaabbb", "7 groups, 2 of them different, for 8 fine classes"),
        ("abbbbbbb", "without b the 1 fine classes left cannot be trained on"),
    ],
)
def test_groups_that_cannot_be_held_out_are_refused(groups, said):
    with pytest.raises(DataError, match=said):
        validation(labelled([f"f{i}" for i in range(8)]), groups)


def test_validation_divides_the_training_classes_only():
    split = zero_shot(
        image_set([8, 8]), [f"c{c}/f{f}" for c in (0, 1) for f in range(6)]
    )
    chosen = validation(split.train)
    assert chosen.name == "cars train validation"
    inside = set(chosen.train.hierarchy.fine_names + chosen.test.hierarchy.fine_names)
    assert inside == set(split.train.hierarchy.fine_names)
    assert len(chosen.test.hierarchy.fine_names) == 2  # 6 / 4 = 1.5, half rounds down
    note = "held out: of each coarse class 0.25 of the fine classes, drawn at random"
    assert chosen.notes == (note,)


@pytest.mark.parametrize("groups", [None, list("aabbccdd")])
def test_both_sides_of_a_validation_are_found_in_the_whole(groups):
    fine = [f"f{i % 8}" for i in range(24)]
    labels = Hierarchy.from_names(fine, ["x" if f < "f4" else "y" for f in fine])
    pixels = np.arange(24 * 12, dtype=np.uint16).astype("uint8").reshape(24, 3, 2, 2)
    whole = ImageSet.from_array("cars", pixels, labels)
    split = validation(whole, groups)
    for side in (split.train, split.test):
        of, chosen = side.part_of
        assert of is whole
        assert torch.equal(whole.pixels[chosen], side.pixels)
    assert len(split.train) + len(split.test) == 24


def test_what_a_data_set_lacks_is_told_line_by_line():
    fine = ["a1"] * 2 + ["a2"] * 2 + ["b1"] + ["b2"] + ["c1"] * 2 + ["b3"]
    labels = Hierarchy.from_names(fine, [name[0] for name in fine])
    pixels = np.zeros((len(fine), 3, 2, 2), "uint8")
    images = ImageSet.from_array("cars", pixels, labels)
    split = replace(zero_shot(images, fine[:8]), skipped=("x.png",), notes=("noted",))
    assert [line.strip() for line in shortcomings(split)] == [
        "never: 2 fine classes, each of which has a single image, so no P⁺: 'b1', 'b2'",
        "never: 'c1' is alone in 'c', so no P⁻",
        "1 test image is alone in its class, so that a search cannot find another: "
        "'b3'",
        "noted",
        "unreadable images that are left out (1):",
        "x.png",
    ]
