"""The background's share in the vectors of networks whose answer is known."""

import torch

from partwhole.evaluation.background import background_share
from support.cell_colours import CellColours

HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_an_object_in_the_middle_and_a_network_that_looks_there_or_elsewhere():
    inside = torch.zeros(4, 4)
    inside[1:3, 1:3] = 1
    middle = {"spread": 0.0, "object_size": (0.9, 0.95), "clutter": 1.0, "count": 400}
    there, everywhere, elsewhere = (
        background_share(CellColours(weights), *HALF, **middle) for weights in (inside, None, 1 - inside)
    )
    assert there < everywhere < elsewhere and there < 0.3
    assert background_share(CellColours(), *HALF, count=400, object_size=(0.1, 0.12)) > 0.9
