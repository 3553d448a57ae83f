import pytest
import torch

from support.tiny_recipes import METHODS


@pytest.fixture(params=sorted(METHODS))
def base(request):
    return request.param


@pytest.fixture
def pixels():
    """Two views of eight images, (2, 8, 3, 16, 16)."""
    return torch.randn(2, 8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
