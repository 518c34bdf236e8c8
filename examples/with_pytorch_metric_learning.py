"""Quadruplets for a loss of pytorch-metric-learning, from a memory of the whole set."""

import torch
from pytorch_metric_learning.losses import TripletMarginLoss
from torch import nn

from qsel.miner import QuadrupletMiner

torch.manual_seed(0)
fine = torch.arange(240) % 24  # 24 fine classes …
coarse_of_fine = torch.arange(24) // 4  # … in 6 coarse ones
images = torch.randn(24, 32)[fine] + torch.randn(240, 32)
model = nn.Linear(32, 16)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)

miner = QuadrupletMiner(coarse_of_fine, coarse_order=True)
loss_function = TripletMarginLoss(margin=0.2)
for step in range(20):
    if step % 5 == 0:  # embed the whole set again
        memory = model(images).detach()
    batch = torch.randperm(240)[:16]
    embeddings = model(images[batch])
    found = miner(embeddings, fine[batch], ref_emb=memory, ref_labels=fine)
    loss = loss_function(embeddings, fine[batch], found, memory, fine)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
print(f"loss {loss.item():.3f}, {miner.left_out} anchors left out of the last batch")
