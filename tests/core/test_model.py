"""The head of Figure 1."""

import torch

from qsel.model import Head


def test_head_shapes_and_unit_length():
    head = Head(7, 3, 5, embedding_dim=4)
    embedding, coarse, fine = head(torch.randn(6, 7))  # (6, 7)
    assert embedding.shape == (6, 4) and coarse.shape == (6, 3) and fine.shape == (6, 5)
    assert torch.allclose(embedding.norm(dim=1), torch.ones(6))


def test_normalise_off_gives_the_layer_itself():
    torch.manual_seed(0)
    head = Head(7, 3, 5, embedding_dim=4, normalise=False)
    x = 10 * torch.randn(6, 7)
    embedding, coarse, _ = head(x)
    assert torch.allclose(embedding, head.embedding(x))
    assert embedding.norm(dim=1).std() > 0.1
    # The class scores do not depend on the switch.
    on = Head(7, 3, 5, embedding_dim=4)
    on.load_state_dict(head.state_dict())
    assert torch.equal(on(x)[1], coarse)


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    head, x = Head(50, 2, 2, embedding_dim=4, dropout=0.5), torch.randn(3, 50)
    assert not torch.equal(head(x)[0], head(x)[0])
    head.eval()
    assert torch.equal(head(x)[0], head(x)[0])


def correlated(n=500, features=6):
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(features, features, generator=generator)
    return torch.randn(n, features, generator=generator) @ mix + 5


def seen_by_the_layer(head: Head, x: torch.Tensor) -> torch.Tensor:
    return head.standardised(x).double()


def test_whitening_gives_identity_covariance():
    x, head = correlated(), Head(6, 2, 3, embedding_dim=4)
    head.standardise(x, 1.0)
    z = seen_by_the_layer(head, x)
    assert torch.allclose(z.mean(0), torch.zeros(6).double(), atol=1e-4)
    assert torch.allclose(z.T.cov(), torch.eye(6).double(), atol=1e-3)


def test_share_zero_scales_each_feature_by_itself_and_is_saved():
    x, head = correlated(), Head(6, 2, 3, embedding_dim=4)
    head.standardise(x, 0.0)
    expected = (x.double() - x.double().mean(0)) / x.double().std(0)
    assert torch.allclose(seen_by_the_layer(head, x), expected, atol=1e-3)
    other = Head(6, 2, 3, embedding_dim=4)
    other.standardise(-x, 1.0)
    other.load_state_dict(head.state_dict())
    assert torch.equal(head.standardised(x), other.standardised(x))


def test_standardise_keeps_a_constant_feature_finite():
    x = correlated()
    x[:, 2] = 3
    for share in (0.0, 0.5, 1.0):
        head = Head(6, 2, 3, embedding_dim=4)
        head.standardise(x, share)
        z = seen_by_the_layer(head, x)
        assert z.isfinite().all() and z[:, 2].abs().max() < 1e-2
        head.standardise(torch.ones(5, 6), share)
        assert seen_by_the_layer(head, torch.ones(5, 6)).isfinite().all()
