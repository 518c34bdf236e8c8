"""Quadruplets in a training loop of your own: a network and labels are all it needs."""

import torch
from torch import nn

from qsel import QuadrupletSelector, losses

torch.manual_seed(0)
fine = torch.arange(240) % 24  # 24 fine classes …
coarse = fine // 4  # … in 6 coarse ones
images = torch.randn(24, 32)[fine] + torch.randn(240, 32)
model = nn.Linear(32, 16)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)

selector = QuadrupletSelector(fine, coarse, model(images), method="method2")
for _step in range(20):
    references = selector.references[torch.randperm(len(selector.references))[:16]]
    four = selector.select(references).stack()  # (4, B): R, P⁺, P⁻, N
    embeddings = model(images[four])  # (4, B, D)
    loss = losses.joint_loss(*embeddings) + losses.global_loss(*embeddings)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    samples = four.unique()  # what the step has seen, as it is embedded now
    selector.update(samples, model(images[samples]))
print(f"loss {loss.item():.3f}, {len(selector)} samples in the gallery")
