"""What each row of Table 1 draws, and what it asks of its images."""

import pytest
import tiny
import torch

from qsel import losses
from qsel.experiments import rivals, rows
from qsel.experiments.config import CHOICES, Config
from qsel.experiments.rows import QUADRUPLETS, ROWS, TITLES, UNTRAINED, Batch
from qsel.experiments.table1 import QUOTED
from qsel.hierarchy import Hierarchy


def labels() -> Hierarchy:
    """Five fine classes of 9, 8, 3, 2 and 1 samples, in three coarse ones."""
    sizes = {"a": 9, "b": 8, "c": 3, "d": 2, "e": 1}
    above = {"a": "x", "b": "x", "c": "y", "d": "y", "e": "z"}
    fine = [name for name, size in sizes.items() for _ in range(size)]
    return Hierarchy.from_names(fine, [above[name] for name in fine])


def drawn(method, steps=3, batch=4, **settings):
    torch.manual_seed(0)
    hierarchy = labels()
    references = hierarchy.references()[: steps * batch].split(batch)
    embeddings = torch.randn(len(hierarchy), 4)
    config = Config(method=method, batch=batch, **settings)
    return (
        hierarchy,
        references,
        rows.draw(config, hierarchy, references, lambda: embeddings),
    )


def test_rows_are_those_of_the_paper_and_the_control():
    titles = [row.title for row in ROWS.values()]
    assert set(titles) - set(QUOTED) == {ROWS["hardest_negative"].title}
    assert [t for t in titles if t in QUOTED] == list(QUOTED)
    assert {*ROWS, *UNTRAINED} == set(CHOICES["method"]) == set(TITLES)
    assert QUADRUPLETS == ("random", "hardest_negative", "method1", "method2")


@pytest.mark.parametrize("method", ROWS)
def test_every_step_has_images_of_several_classes(method):
    hierarchy, references, batches = drawn(method)
    assert len(batches) == len(references)
    for images in batches:
        assert images.dtype == torch.int64 and len(images) <= 4 * 4
        assert images.min() >= 0 and images.max() < len(hierarchy)
        assert len(hierarchy.fine[images].unique()) > 1


@pytest.mark.parametrize("method", QUADRUPLETS)
def test_quadruplets_keep_their_constraints(method):
    hierarchy, references, batches = drawn(method)
    fine, coarse = hierarchy.fine, hierarchy.coarse
    for due, images in zip(references, batches, strict=True):
        r, pp, pn, n = images.split(4)
        assert torch.equal(r, due)
        assert (fine[pp] == fine[r]).all() and (pp != r).all()
        assert (fine[pn] != fine[r]).all() and (coarse[pn] == coarse[r]).all()
        assert (coarse[n] != coarse[r]).all()


def test_triplets_are_of_fine_classes():
    hierarchy, references, batches = drawn("triplet_global")
    fine = hierarchy.fine
    seen = set()
    for due, images in zip(references, batches, strict=True):
        anchor, positive, negative = images.split(4)
        assert torch.equal(anchor, due)
        assert (fine[positive] == fine[anchor]).all() and (positive != anchor).all()
        assert (fine[negative] != fine[anchor]).all()
        seen |= {bool(x) for x in hierarchy.coarse[negative] == hierarchy.coarse[due]}
    assert seen == {True, False}  # negatives of both kinds


def test_pairs_are_of_classes_that_differ():
    hierarchy, _, batches = drawn("n_pairs", batch=2)
    for images in batches:
        assert len(images) == 8  # the four classes with two images or more
        first, second = hierarchy.fine[images].view(-1, 2).T
        assert torch.equal(first, second)
        assert len(first.unique()) == 4
        assert len(images.unique()) == 8


@pytest.mark.parametrize(
    ("each", "images", "expected"),
    # 16 images: 4 classes of 4; or, with few classes, more of each; never one twice.
    [(4, 16, {0: 4, 1: 4, 2: 3, 3: 2}), (2, 40, {0: 9, 1: 8, 2: 3, 3: 2})],
)
def test_classes_by_images(each, images, expected):
    hierarchy, _, (batch, *_) = drawn(
        "semi_hard", steps=1, batch=images // 4, images_per_class=each
    )
    counts = dict(enumerate(hierarchy.fine[batch].bincount().tolist()))
    assert counts == expected
    assert len(batch.unique()) == len(batch)


def test_clustering_stays_within_its_images(monkeypatch):
    monkeypatch.setattr(rows, "CLUSTERING_IMAGES", 6)
    assert all(len(images) <= 6 for images in drawn("clustering")[2])
    assert all(len(images) > 6 for images in drawn("semi_hard")[2])


def batch_of(method, settings=None):
    hierarchy, _, (images, *_) = drawn(method)
    embeddings = torch.randn(len(images), 4, requires_grad=True)
    scores = torch.randn(len(images), 3), torch.randn(len(images), 5)
    fine, coarse = hierarchy.fine[images], hierarchy.coarse[images]
    return Batch(images, fine, coarse, embeddings, *scores)


def test_the_objective_of_quadruplets_is_equation_6():
    config = Config(margin1=0.6, margin2=0.2, reduction="sum", variance="squared")
    b = batch_of("method1")
    found = ROWS["method1"].objective(b, config)
    r = slice(0, 4)
    four = b.embeddings.split(4)
    classification = losses.classification_loss(
        b.coarse_scores[r], b.fine_scores[r], b.coarse[r], b.fine[r], reduction="none"
    )
    expected = losses.combined_loss(
        *four, classification, 0.6, 0.2, reduction="sum", variance="squared"
    )
    assert torch.equal(found["loss"], expected)
    assert set(found) == {"loss", "distance", "classification", "global", "zero"}


def test_the_other_objectives_are_the_rivals():
    expected = {
        "semi_hard": rivals.semi_hard_loss,
        "lifted_structure": rivals.lifted_structure_loss,
        "n_pairs": rivals.n_pairs_loss,
        "clustering": rivals.clustering_loss,
    }
    for method, loss in expected.items():
        b = batch_of(method)
        found = ROWS[method].objective(b, Config())
        assert torch.equal(found["loss"], loss(b.embeddings, b.fine))
    b = batch_of("triplet_global")
    found = ROWS["triplet_global"].objective(b, Config())
    assert torch.equal(
        found["loss"], rivals.triplet_global_loss(*b.embeddings.split(4))
    )


def test_rows_that_look_at_nothing_do_not_embed():
    for method in set(ROWS) - {"hardest_negative", "method1", "method2"}:
        config = Config(method=method, batch=4)
        references = labels().references()[:4]

        def embedded():
            raise AssertionError("embedded")

        rows.draw(config, labels(), [references], embedded)


def test_switches_reach_the_selection(monkeypatch):
    seen = {}
    real = rows.select_quadruplets

    def watched(*arguments, **switches):
        seen.update(switches)
        return real(*arguments, **switches)

    monkeypatch.setattr(rows, "select_quadruplets", watched)
    switches = dict(negative="random", siblings="coarse", fallback="nearest")
    drawn("method1", **switches)
    assert {name: seen[name] for name in switches} == switches


def test_tiny_data_trains_every_row():
    """Six classes of six: fewer than a batch asks for."""
    hierarchy = tiny.zero_shot().train.hierarchy
    for method in ROWS:
        config = tiny.config(method=method, batch=64)
        embeddings = torch.randn(len(hierarchy), 3)
        (images,) = rows.draw(
            config, hierarchy, [hierarchy.references()], lambda e=embeddings: e
        )
        assert len(images) >= 12
