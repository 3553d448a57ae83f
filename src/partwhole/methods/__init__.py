"""Methods: four bases (how to compare) and the objectives that stand on them."""

from ..models.normalisation import Normalisation
from ..models.resnet import encoder
from .base import Method
from .byol import BYOL
from .moco import MoCo
from .simclr import SimCLR
from .simsiam import SimSiam

BASES = {"simclr": SimCLR, "moco": MoCo, "byol": BYOL, "simsiam": SimSiam}


def build(recipe, ranks) -> Method:
    """The method of a recipe, on the ranks' device; parameters come from torch's global generator, so seed it before."""
    norm = Normalisation(recipe.model.norm, ranks, recipe.model.norm_groups)
    base = BASES[recipe.method.base](encoder(recipe.model, norm.maps), norm, ranks, recipe.method)
    return Method(base).to(ranks.device)
