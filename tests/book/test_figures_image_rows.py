"""Pictures of data: which ones stand where, and what is written under them."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from qsel.book import figures
from qsel.book.figures import image_rows
from qsel.data.images import ImageSet
from qsel.hierarchy import Hierarchy
from qsel.selection import Quadruplets


def image_set(name="synthcars train"):
    """Eight images of the brightness 20 · i, two of each of four fine classes."""
    labels = Hierarchy.from_names(list("aabbccdd"), list("xxxxyyyy"))
    array = np.full((8, 3, 6, 6), 0, np.uint8) + 20 * np.arange(8)[:, None, None, None]
    return ImageSet.from_array(name, array.astype(np.uint8), labels)


X = torch.tensor([[0.0], [3.0], [4.0], [5.0], [2.0], [6.0], [7.0], [8.0]])


def shown(ax) -> int:
    """Which image of ``image_set`` an axis has."""
    return int(ax.images[0].get_array().max()) // 20


def test_quadruplet_rows_have_members_distances_and_frames():
    chosen = {
        "random": Quadruplets(*torch.tensor([[0], [1], [2], [5]])),
        "method1": Quadruplets(*torch.tensor([[0], [1], [3], [4]])),
    }
    axes = image_rows.quadruplet_rows(image_set(), X, chosen, 0).axes
    assert [shown(ax) for ax in axes] == [0, 1, 2, 5, 0, 1, 3, 4]
    under = [ax.get_xlabel() for ax in axes]
    assert under == [
        *("a", "3.00: a", "4.00: b", "6.00: c"),
        *("a", "3.00: a", "5.00: b", "2.00: c"),
    ]
    assert [ax.get_title() for ax in axes[:4]] == ["R", "P⁺", "P⁻", "N"]
    assert [axes[0].get_ylabel(), axes[4].get_ylabel()] == ["Random", "Method 1"]
    thick = [ax.spines["top"].get_linewidth() > 2 for ax in axes]
    assert thick == [False] * 5 + [True, True, False]  # beyond N, in Method 1 only


def test_hardest_negatives_are_the_nearest_pairs_each_picture_once():
    r, n = torch.tensor([0, 1, 3, 5, 7]), torch.tensor([4, 4, 5, 3, 3])
    pairs = image_rows.hardest_negatives(X, Quadruplets(r, r, r, n), 5)
    # 1-4 and 3-5 are 1 apart; 0-4, 5-3 and 7-3 share a picture with them.
    assert pairs.tolist() == [[1, 3], [4, 5]]
    assert image_rows.hardest_negatives(X, Quadruplets(r, r, r, n), 1).shape == (2, 1)


def test_negatives_stand_below_their_references_with_the_distance():
    axes = image_rows.negatives(image_set(), X, torch.tensor([[0], [5]])).axes
    assert [shown(ax) for ax in axes] == [0, 5]
    assert axes[0].get_title() == "$D$ = 6.000"
    assert [ax.get_xlabel() for ax in axes] == ["x\na", "y\nc"]


@pytest.mark.parametrize("classes", [[2], [3, 0, 1, 2, 2]])
def test_retrieval_shows_the_query_and_one_picture_of_each_class(classes):
    (ax,) = image_rows.retrieval(image_set(), classes).axes
    boxes = [box for box in ax.artists if hasattr(box, "offsetbox")]
    found = [int(np.max(box.offsetbox.get_data())) // 20 for box in boxes]
    assert found == [*(2 * f for f in classes), 2 * classes[0] + 1]  # the query last
    words = [text.get_text() for text in ax.texts]
    assert {"query", "nearest", "a new picture"} <= set(words)


def test_long_names_are_cut_and_folders_left_out():
    assert image_rows._short("sedan/audi a4") == "audi a4"
    assert len(image_rows._short("x" * 80)) == image_rows.LONGEST


def test_a_picture_becomes_a_small_png():
    noise = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    found = figures.as_pixels(Image.fromarray(noise)).data
    picture = Image.open(io.BytesIO(found))
    assert picture.format == "PNG" and picture.size == (50, 40)
    assert len(found) < noise.size / 2
