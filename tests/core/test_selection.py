"""Selection against a brute-force float64 twin, on thousands of random cases.

The twin is plain loops over float64 distances: §3.3's words, with the defaults of
the book's errata (P⁻ differs in fine class; the furthest inside where nothing lies
outside, for both methods; ties to the lowest index).
"""

import math

import numpy as np
import pytest
import torch
from blocks import DTYPES, FAMILIES, points_of, small_blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from qsel import HierarchyError, select_quadruplets
from qsel.selection import METHODS

# The slow twin.


def squared_distances(points):
    """N x N in float64: affordable for the twin, never done by the package."""
    x = points.double().numpy()
    return ((x[:, None] - x[None, :]) ** 2).sum(2).tolist()


def nearest(d, centre, candidates):
    return min(candidates, key=lambda i: (d[centre][i], i))


def furthest(d, centre, candidates):
    return min(candidates, key=lambda i: (-d[centre][i], i))


def partners(fine, coarse, r):
    """P⁺, P⁻ and N of a reference, by the constraints of §2."""
    everyone = range(len(fine))
    return (
        [i for i in everyone if fine[i] == fine[r] and i != r],
        [i for i in everyone if coarse[i] == coarse[r] and fine[i] != fine[r]],
        [i for i in everyone if coarse[i] != coarse[r]],
    )


def positive(d, r, n, candidates, centre):
    """§3.3.1 with the centre N, §3.3.2 with the centre R."""
    outside = [i for i in candidates if d[r][i] > d[r][n]]
    if outside:
        return nearest(d, centre, outside)
    return furthest(d, r, candidates)


def twin(d, fine, coarse, r, method, n, pn, siblings, fallback="furthest"):
    """P⁺ and P⁻ by a method; N, and the class of P⁻ where it is drawn, are given."""
    pps, pns, _ = partners(fine, coarse, r)
    if siblings == "drawn":
        pns = [i for i in pns if fine[i] == fine[pn]]
    elif siblings == "coarse":
        pns = [i for i in range(len(fine)) if coarse[i] == coarse[r] and i != r]
    centre = n if method == "method1" else r
    chosen = []
    for candidates in (pps, pns):
        outside = any(d[r][i] > d[r][n] for i in candidates)
        if method == "method1" and fallback == "nearest" and not outside:
            chosen.append(nearest(d, n, candidates))
        else:
            chosen.append(positive(d, r, n, candidates, centre))
    return chosen


OWN = {"method1": "all", "method2": "drawn"}  # the siblings of each method


def usable(fine, coarse):
    return [r for r in range(len(fine)) if all(partners(fine, coarse, r))]


def assert_agrees(points, fine, coarse, seed=0):
    """All methods on every usable reference; returns how many quadruplets were held."""
    f, c, d = fine.tolist(), coarse.tolist(), squared_distances(points)
    references = usable(f, c)
    if not references:
        return 0
    found = {
        method: select_quadruplets(
            *(points, fine, coarse, torch.tensor(references), method),
            torch.Generator().manual_seed(seed),
        )
        .stack()
        .T.tolist()
        for method in METHODS
    }
    for b, r in enumerate(references):
        # Which sibling class Method 2 has drawn is read from the answer; that the draw
        # is uniform has its own test.
        n = nearest(d, r, partners(f, c, r)[2])
        for method in METHODS:
            same_r, *chosen = found[method][b]
            assert same_r == r
            assert all(i in p for i, p in zip(chosen, partners(f, c, r), strict=True))
            if method in OWN:
                drawn = chosen[1]
                assert chosen[:2] == twin(d, f, c, r, method, n, drawn, OWN[method])
            assert method == "random" or chosen[2] == n
    return len(METHODS) * len(references)


# Random cases, by family.


def random_labels(rng):
    """Uneven two-level labels with tiny classes, shuffled, with any numbers."""
    fine, coarse = [], []
    numbers = rng.choice(np.arange(-500, 500), size=20, replace=False).tolist()
    above = rng.choice(np.arange(-9, 99), size=4, replace=False).tolist()
    for c in above[: rng.integers(2, 5)]:
        for _ in range(rng.integers(1, 4)):
            size = int(rng.integers(1, 5))
            fine += [numbers.pop()] * size
            coarse += [c] * size
    shuffled = rng.permutation(len(fine))
    return torch.tensor(fine)[shuffled], torch.tensor(coarse)[shuffled]


@pytest.mark.parametrize("family", FAMILIES)
def test_selection_is_that_of_float64_brute_force(family, monkeypatch):
    rng = np.random.default_rng(list(FAMILIES).index(family))
    held = 0
    for case in range(12):
        # As it is; then as if doubts were many; the last ones in small blocks.
        size = {9: 2000, 10: 1000, 11: 400}.get(case)
        small_blocks(monkeypatch, size, few=32 if case % 3 else 1)
        fine, coarse = random_labels(rng)
        points = points_of(rng, family, len(fine), 1 + case % 6, DTYPES[case % 4])
        held += assert_agrees(points, fine, coarse, seed=case)
    assert held > 100


def test_selection_under_every_precision_of_products(matmul_precision):
    rng = np.random.default_rng(7)
    for family in FAMILIES:
        fine, coarse = random_labels(rng)
        points = points_of(rng, family, len(fine), 3, torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert_agrees(points, fine, coarse)


def test_many_samples_in_many_dimensions(monkeypatch):
    # Large enough that ranking by products is off where neighbours are close.
    rng = np.random.default_rng(1)
    fine = torch.as_tensor(rng.integers(0, 40, 300))
    points = rng.normal(size=(300, 200)) * 1e-3 + rng.normal(size=200)
    points[150:] = points[rng.integers(0, 150, 150)]
    small_blocks(monkeypatch, 100_000)
    assert_agrees(torch.as_tensor(points).float(), fine, fine // 4)


@st.composite
def tied_cases(draw):
    """Small integer points: most distances tie, many lie on the hypersphere."""
    classes = draw(st.lists(st.integers(0, 2), min_size=3, max_size=6))  # parents
    n = draw(st.integers(4, 14))
    fine = draw(st.lists(st.integers(0, len(classes) - 1), min_size=n, max_size=n))
    dim = draw(st.integers(1, 3))
    coordinates = st.lists(st.integers(-2, 2), min_size=dim, max_size=dim)
    points = draw(st.lists(coordinates, min_size=n, max_size=n))
    shift = draw(st.sampled_from([0, 100, -2000]))
    return (
        torch.tensor(points) + shift,
        torch.tensor(fine),
        torch.tensor([classes[f] for f in fine]),
        draw(st.sampled_from(DTYPES)),
        draw(st.sampled_from([None, None, 700])),
        draw(st.sampled_from([32, 1])),
    )


@settings(max_examples=100)
@given(tied_cases())
def test_ties_are_those_of_brute_force(case):
    points, fine, coarse, dtype, block_bytes, few = case
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch, block_bytes, few)
        assert_agrees(points.to(dtype), fine, coarse)


@settings(max_examples=60)
@given(
    tied_cases(),
    st.sampled_from(["method1", "method2"]),
    st.sampled_from(["nearest", "random"]),
    st.sampled_from(["all", "drawn", "coarse"]),
    st.sampled_from(["furthest", "nearest"]),
    st.integers(0, 9),
)
def test_switches_are_those_of_brute_force(
    case, method, negative, siblings, fallback, seed
):
    points, fine, coarse, dtype, *_ = case
    points = points.to(dtype)
    f, c, d = fine.tolist(), coarse.tolist(), squared_distances(points)
    if not (references := usable(f, c)):
        return
    found = select_quadruplets(
        *(points, fine, coarse, torch.tensor(references), method),
        torch.Generator().manual_seed(seed),
        **dict(negative=negative, siblings=siblings, fallback=fallback),
    )
    for r, pp, pn, n in found.stack().T.tolist():
        _, _, ns = partners(f, c, r)
        assert n == nearest(d, r, ns) if negative == "nearest" else n in ns
        assert [pp, pn] == twin(d, f, c, r, method, n, pn, siblings, fallback)


def test_the_sphere_itself_is_not_outside():
    # R at 0, N at 2; P⁺ at -2 (on the sphere) and at 5; P⁻ at 2 only.
    points = torch.tensor([[0.0], [-2.0], [5.0], [2.0], [2.0]])
    fine, coarse = torch.tensor([0, 0, 0, 1, 2]), torch.tensor([0, 0, 0, 0, 1])
    for method in ("method1", "method2"):
        found = select_quadruplets(points, fine, coarse, torch.tensor([0]), method)
        assert found.stack().flatten().tolist() == [0, 2, 3, 4]


def test_method_1_seeks_around_n_and_method_2_around_r():
    # R at the origin, N at (2, 0). The P⁺ at (-2.1, 0) is nearer to R, the one at
    # (3, 0) nearer to N; the same for P⁻ along the other axis.
    points = torch.tensor([[0.0, 0], [-2.1, 0], [3, 0], [0, 2.2], [2.2, 2.2], [2, 0]])
    fine, coarse = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 0, 0, 0, 0, 1])
    found = {
        m: select_quadruplets(points, fine, coarse, torch.tensor([0]), m).stack()[:, 0]
        for m in ("method1", "method2")
    }
    assert found["method1"].tolist() == [0, 2, 4, 5]
    assert found["method2"].tolist() == [0, 1, 3, 5]


def test_a_single_point_more_than_float32_can_tell_apart():
    # 1e-9 outside the sphere: below float32's rounding of the squares, not float64's.
    points = torch.tensor(
        [[0.0], [1.0], [-1.0 - 1e-9], [0.5], [1.0]], dtype=torch.float64
    )
    fine, coarse = torch.tensor([0, 0, 0, 1, 2]), torch.tensor([0, 0, 0, 0, 1])
    found = select_quadruplets(points, fine, coarse, torch.tensor([0]), "method2")
    assert found.positive_positive.tolist() == [2]


def small_set(n=60, seed=0):
    """12 fine classes of 5 under 4 coarse ones, in 3-d."""
    points = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    fine = torch.arange(n) % 12
    return points, fine, fine // 3


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_result_in_blocks_of_any_size(method, monkeypatch, tmp_path):
    """And whatever holds the embeddings: a file, strange strides, a graph."""
    points, fine, coarse = small_set()
    references = torch.arange(60).flip(0).repeat(3)
    np.save(tmp_path / "points.npy", points.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "points.npy", mmap_mode="c"))
    awkward = points.T.contiguous().T.requires_grad_()
    results = []
    for size, x in ((None, points), (1000, mapped), (4096, points), (None, awkward)):
        small_blocks(monkeypatch, size)
        generator = torch.Generator().manual_seed(5)
        found = select_quadruplets(x, fine, coarse, references, method, generator)
        assert len(found) == 180
        assert found.stack().dtype == torch.int64 and found.stack().shape == (4, 180)
        assert found.reference.equal(references)
        results.append(found.stack())
    assert all(r.equal(results[0]) for r in results)
    other = torch.Generator().manual_seed(6)
    again = select_quadruplets(points, fine, coarse, references, method, other)
    assert again.stack().equal(results[0]) == (method == "method1")
    for _ in "ab":  # without a generator torch's own seed counts
        torch.manual_seed(3)
        found = select_quadruplets(points, fine, coarse, references, method)
        results.append(found.stack())
    assert results[-1].equal(results[-2])


def uneven_labels():
    """Class sizes 4, 1, 3 | 2 | 5, 2 in mixed order."""
    fine = torch.tensor([0] * 4 + [1] + [2] * 3 + [3] * 2 + [4] * 5 + [5] * 2)
    fine = fine[torch.randperm(len(fine), generator=torch.Generator().manual_seed(1))]
    return fine, torch.tensor([0, 0, 0, 1, 2, 2])[fine]


def assert_uniform(drawn, expected):
    values, counts = torch.as_tensor(drawn).unique(return_counts=True)
    assert values.tolist() == sorted(expected)
    if len(expected) > 1:
        assert chisquare(counts.numpy()).pvalue > 1e-3


def test_all_that_is_drawn_is_uniform():
    """Random looks at no embeddings; Method 2 draws a class, whatever its size."""
    fine, coarse = uneven_labels()
    points = torch.randn(len(fine), 2, generator=torch.Generator().manual_seed(2))
    f, c = fine.tolist(), coarse.tolist()
    generator = torch.Generator().manual_seed(11)
    for r in usable(f, c):

        def draw(x, method, r=r, **switches):
            many = torch.full((4000,), r)
            own = method, generator
            return select_quadruplets(x, fine, coarse, many, *own, **switches)

        pps, pns, ns = partners(f, c, r)
        for found in (draw(None, "random"), draw(points, "hardest_negative")):
            assert_uniform(found.positive_positive, pps)
            assert_uniform(found.positive_negative, pns)
        assert_uniform(draw(None, "random").negative, ns)
        found = draw(points, "method2", negative="random")
        assert_uniform(found.negative, ns)
        assert_uniform(fine[found.positive_negative], {f[i] for i in pns})


def test_partners_are_drawn_independently():
    fine, coarse = uneven_labels()
    r = usable(fine.tolist(), coarse.tolist())[0]
    many = torch.full((20_000,), r)
    generator = torch.Generator().manual_seed(4)
    found = select_quadruplets(None, fine, coarse, many, "random", generator)
    sizes = [len(p) for p in partners(fine.tolist(), coarse.tolist(), r)]
    _, counts = found.stack().unique(dim=1, return_counts=True)
    assert len(counts) == math.prod(sizes)
    assert chisquare(counts.numpy()).pvalue > 1e-3


POINTS, FINE, COARSE = small_set()
EVERYONE = torch.arange(60)


@pytest.mark.parametrize(
    ("fine", "coarse", "words"),
    [
        ([7, 7, 8, 9], [1, 1, 1, 2], r"P⁺: sample 2 .*fine class 8 \(coarse class 1"),
        ([7, 7, 8, 8, 9, 9], [1, 1, 1, 1, 2, 2], r"P⁻: sample 4 .*fine class 9"),
        ([7, 7, 8, 8], [5, 5, 5, 5], r"N: sample 0 .*fine class 7 \(coarse class 5"),
    ],
)
def test_a_reference_without_a_partner(fine, coarse, words):
    n = len(fine)
    for method in METHODS:
        with pytest.raises(HierarchyError, match=words):
            select_quadruplets(
                *(torch.randn(n, 2), torch.tensor(fine), torch.tensor(coarse)),
                *(torch.arange(n), method),
            )


def test_lacking_samples_may_stay_as_partners():
    fine, coarse = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 0, 1])
    x = torch.randn(4, 2)
    found = select_quadruplets(x, fine, coarse, torch.tensor([1, 0]), "method1")
    assert found.stack().tolist() == [[1, 0], [0, 1], [2, 2], [3, 3]]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_and_infinity_with_their_row(dtype):
    for value in (torch.nan, torch.inf, -torch.inf):
        bad = POINTS.to(dtype, copy=True)
        bad[41, 1] = bad[50, 0] = value
        with pytest.raises(ValueError, match="2 of 60 .*first in row 41"):
            select_quadruplets(bad, FINE, COARSE, EVERYONE)


@pytest.mark.parametrize(
    ("embeddings", "words"),
    [
        (torch.zeros(60), r"\(60,\).*\(N, D\)"),
        (torch.zeros(60, 0), r"\(60, 0\).*at least 1"),
        (torch.zeros(60, 2, dtype=torch.int64), "int64.*floating point"),
        (torch.zeros(59, 2), "59 embeddings but 60 labels"),
        (np.zeros((60, 2)), "ndarray; expected a torch tensor"),
        (None, "'method2' needs embeddings"),
        (POINTS.double() * 1e200, "overflows float64"),
    ],
)
def test_embeddings_that_it_refuses(embeddings, words):
    with pytest.raises(ValueError, match=words):
        select_quadruplets(embeddings, FINE, COARSE, EVERYONE)


@pytest.mark.parametrize("method", ["random", "method2"])
@pytest.mark.parametrize(
    ("references", "words"),
    [
        (torch.tensor([0, 60]), "from 0 to 60, but there are 60 .*0 to 59"),
        (torch.tensor([-1, 5]), "from -1 to 5"),
        (torch.tensor([0.0]), r"float32 of shape \(1,\); expected .* int64"),
        (torch.tensor([[0]]), r"shape \(1, 1\)"),
        (torch.tensor([], dtype=torch.int64), "B of at least 1"),
        ([0, 1], "references are list"),
    ],
)
def test_references_that_it_refuses(references, words, method):
    with pytest.raises(ValueError, match=words):
        select_quadruplets(POINTS, FINE, COARSE, references, method)


def test_labels_and_words_that_it_refuses():
    def refuses(words, fine=FINE, coarse=COARSE, **options):
        with pytest.raises(ValueError, match=words):
            select_quadruplets(POINTS, fine, coarse, EVERYONE, **options)

    refuses("fine labels are torch.float32", FINE.float())
    refuses("60 fine labels .* 59 coarse", coarse=COARSE[:59])
    refuses("coarse labels are list", coarse=COARSE.tolist())
    refuses("'method3'; expected one of random, meth", method="method3")
    for switch in ("negative", "siblings", "fallback"):
        refuses(f"{switch}='none'; expected one of", **{switch: "none"})
