"""What each row of Table 1 draws, and what it asks of its images."""

import pytest
import torch

from qsel import losses
from qsel.experiments import batches, row_names, rows
from qsel.experiments.config import CHOICES, Config
from qsel.experiments.rows import QUADRUPLETS, ROWS, TITLES, UNTRAINED, Batch
from qsel.experiments.table1 import QUOTED
from qsel.hierarchy import Hierarchy
from qsel.model import Head


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


def test_rows_are_those_of_the_paper_and_others_that_are_named():
    titles = [row.title for row in ROWS.values()]
    ours = {*row_names.ADDED, *row_names.VARIANTS, "hardest_negative"}
    assert {t for t in titles if t not in QUOTED} == {ROWS[m].title for m in ours}
    assert [t for t in titles if t in QUOTED] == list(QUOTED)
    assert {*ROWS, *UNTRAINED} == set(CHOICES["method"]) == set(TITLES)
    assert QUADRUPLETS == ("random", "hardest_negative", "method1", "method2")


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


def test_classification_sees_any_images_in_a_budget_of_four_a_reference():
    hierarchy, references, batches = drawn("classification", steps=200, batch=4)
    assert [len(images) for images in batches] == [4 * len(r) for r in references]
    assert all(len(images.unique()) == len(images) for images in batches)
    # 23 samples: all turn up, the one that is alone in its class too.
    assert len(torch.cat(batches).unique()) == len(hierarchy)


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
    monkeypatch.setattr(batches, "CLUSTERING_IMAGES", 6)
    assert all(len(images) <= 6 for images in drawn("clustering")[2])
    assert all(len(images) > 6 for images in drawn("semi_hard")[2])


def batch_of(method, settings=None):
    hierarchy, _, (images, *_) = drawn(method)
    embeddings = torch.randn(len(images), 4, requires_grad=True)
    scores = torch.randn(len(images), 3), torch.randn(len(images), 5)
    fine, coarse = hierarchy.fine[images], hierarchy.coarse[images]
    proxies = torch.randn(5, 4, requires_grad=True)
    return Batch(images, fine, coarse, embeddings, *scores, proxies)


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


@pytest.mark.parametrize("method", [m for m in ROWS if ROWS[m].margin])
def test_a_margin_is_the_rows_own_and_none_is_its_authors(method):
    b, published = (
        batch_of(method),
        {
            **dict(semi_hard=0.2, lifted_structure=1.0, n_pairs=0.002, clustering=1.0),
            **dict(triplet_global=0.4, proxy_anchor=32.0, multi_similarity=50.0),
        },
    )
    loss = {
        margin: ROWS[method].objective(b, Config(margin=margin))["loss"]
        for margin in (None, published[method], 1.7 * published[method])
    }
    left, authors, other = loss.values()
    assert torch.equal(left, authors) and not torch.equal(left, other)


@pytest.mark.parametrize("method", ["classification", "method1"])
def test_a_margin_is_refused_by_rows_without_one(method):
    said = rf"margin=0.5: {method} has no margin .*leave it none"
    with pytest.raises(ValueError, match=said):
        drawn(method, margin=0.5)


@pytest.mark.parametrize("method", ROWS)
def test_an_objective_trains_the_heads_that_its_row_names(method):
    """A process of several would wait for a gradient that never comes."""
    torch.manual_seed(0)
    hierarchy, _, (images, *_) = drawn(method)
    head = Head(6, 3, 5, 4)
    outputs = head(torch.randn(len(images), 6))
    fine, coarse = hierarchy.fine[images], hierarchy.coarse[images]
    batch = Batch(images, fine, coarse, *outputs, head.fine.weight)
    ROWS[method].objective(batch, Config())["loss"].backward()
    trained = {name for name, p in head.named_parameters() if p.grad is not None}
    assert trained == {"embedding.weight", "embedding.bias", *ROWS[method].heads}


def test_no_objective_draws_random_numbers():
    """Rows of a seed would else see other images after a step of another loss."""
    for method in ROWS:
        b, before = batch_of(method), torch.get_rng_state()
        ROWS[method].objective(b, Config())
        assert torch.equal(torch.get_rng_state(), before), method


def test_rows_that_compare_by_cosine_are_tested_by_cosine():
    x = torch.tensor([[3.0, 0.0], [0.1, 0.0], [0.0, 2.0]])
    for method in TITLES:
        known = method in ("n_pairs", "proxy_anchor", "multi_similarity")
        found = rows.comparable(x, method)
        assert torch.equal(found, torch.eye(2)[[0, 0, 1]] if known else x), method


def test_a_table_shows_rows_beyond_the_paper_once_they_are_run():
    assert rows.of_table() == [
        m for m in TITLES if m not in row_names.ADDED + row_names.VARIANTS
    ]
    assert rows.of_table(TITLES) == list(TITLES)


def test_rows_that_look_at_nothing_do_not_embed():
    for method in {*row_names.RIVALS, "random"}:
        config = Config(method=method, batch=4)
        references = labels().references()[:4]

        def embedded():
            raise AssertionError("embedded")

        rows.draw(config, labels(), [references], embedded)
