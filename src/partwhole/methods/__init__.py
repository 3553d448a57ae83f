"""Methods: four bases (how to compare) and the objectives that stand on them."""

from partwhole.methods.byol import BYOL
from partwhole.methods.co_ssl import CoSSL
from partwhole.methods.lewel import Lewel
from partwhole.methods.logo import LoGo
from partwhole.methods.method import Method
from partwhole.methods.moco import MoCo
from partwhole.methods.simclr import SimCLR
from partwhole.methods.simsiam import SimSiam
from partwhole.models.normalisation import Normalisation
from partwhole.models.resnet import encoder
from partwhole.recipes.schema import Recipe

BASES = {"simclr": SimCLR, "moco": MoCo, "byol": BYOL, "simsiam": SimSiam}
OBJECTIVES = {
    "pooled": Method,
    "lewel": Lewel,
    "logo": LoGo,
    "co_ssl": CoSSL,
}


def build(recipe: Recipe, ranks) -> Method:
    """The method of a recipe, on the ranks' device; parameters come from torch's global generator, so seed it
    before.
    """
    norm = Normalisation(recipe.model.norm, ranks, recipe.model.norm_groups)
    base = BASES[recipe.method.base](encoder(recipe.model, norm.maps, norm.rows), norm, ranks, recipe.method)
    return OBJECTIVES[recipe.method.objective].of_recipe(base, recipe).to(ranks.device)
