"""Settings for all tests: repeatable random cases, one thread."""

import os

import pytest
import torch
from hypothesis import settings

# Shared machines make a single example slow now and then; that is no failure.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# The tensors here are tiny: a second thread costs more than it brings.
torch.set_num_threads(1)


@pytest.fixture(params=["highest", "high", "medium"])
def matmul_precision(request):
    """Each of torch's precisions of float32 matrix products, restored afterwards."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    torch.set_float32_matmul_precision(before)
