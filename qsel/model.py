"""The network of Figure 1: one trunk, one 1024-d layer, two class heads.

All four images of a quadruplet pass through the same weights.
"""

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """What follows the trunk: the last fully connected layer and both classifiers.

    Args:
        features: width of the trunk's output.
        coarse_classes, fine_classes: C and F, the outputs of the paper's g and h.
        embedding_dim: D, the last fully connected layer.
        dropout: in front of that layer.
        normalise: scale embeddings to unit length.

    Example:
        >>> head = Head(8, 2, 5, embedding_dim=4)
        >>> embedding, coarse, fine = head(torch.randn(3, 8))
        >>> embedding.shape, coarse.shape, fine.shape
        (torch.Size([3, 4]), torch.Size([3, 2]), torch.Size([3, 5]))
    """

    def __init__(
        self,
        features: int,
        coarse_classes: int,
        fine_classes: int,
        embedding_dim: int = 1024,
        dropout: float = 0.0,
        normalise: bool = True,
    ):
        super().__init__()
        # Set by `standardise`, for frozen features.
        self.register_buffer("shift", torch.zeros(features))
        self.register_buffer("whitening", torch.empty(0))
        self.dropout = nn.Dropout(dropout)
        self.embedding = nn.Linear(features, embedding_dim)
        self.coarse = nn.Linear(embedding_dim, coarse_classes)
        self.fine = nn.Linear(embedding_dim, fine_classes)
        self.normalise = normalise

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, features) → embeddings (B, D), coarse and fine scores (B, C), (B, F)."""
        x = self.embedding(self.dropout(features))  # (B, D)
        embedding = nn.functional.normalize(x, dim=1) if self.normalise else x
        return embedding, self.coarse(x), self.fine(x)

    @torch.no_grad()
    def standardise(self, features: Tensor, share: float) -> None:
        """Fit a transform that gives features zero mean and a balanced covariance.

        x → (x - mean) S^(-1/2), with S = share · Σ + (1 - share) · diag(Σ) and Σ the
        covariance of the training features: share 0 scales each feature by itself,
        share 1 whitens them. N of (N, features) is at least 2.
        """
        x = features.double()
        covariance = x.T.cov()
        mixed = share * covariance
        mixed.diagonal().copy_(covariance.diagonal())
        values, vectors = torch.linalg.eigh(mixed)
        # Constant features carry no information and must not be amplified.
        values = values.clamp_min(1e-6 * values.max().clamp_min(1e-12))
        self.shift = x.mean(0).float()
        self.whitening = (vectors * values.rsqrt() @ vectors.T).float()

    @torch.no_grad()
    def standardised(self, features: Tensor) -> Tensor:
        """Apply what ``standardise`` fitted to features (B, features)."""
        if len(self.whitening):
            return (features - self.shift) @ self.whitening
        return features


class EmbeddingModel(nn.Module):
    """Trunk and head: images (B, 3, H, W) in, embeddings and class scores out."""

    def __init__(self, trunk: nn.Module, head: Head):
        super().__init__()
        self.trunk = trunk
        self.head = head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) → embeddings (B, D), coarse and fine scores (B, C), (B, F)."""
        return self.head(self.trunk(images))
