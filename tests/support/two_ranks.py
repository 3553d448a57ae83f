"""Run under torchrun by test_distributed.py: one step of every base and objective on a rank's share of a
batch; rank 0 saves it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from partwhole.data.scenes import scenes
from partwhole.experiments.run import assemble
from partwhole.training import distributed
from partwhole.training.ranks import Ranks
from support.tiny_recipes import METHODS, co_ssl, contrastive, lewel, logo, tiny

RECIPES = {
    "pooled": lambda base, training: tiny(base, **training),
    "lewel": lewel,
    "co_ssl": lambda base, training: co_ssl(base, training, positions=3, direction="both"),
    "logo": lambda base, training: logo(base, training, lam=0.3, negatives="roll", orders="both"),
    "logo_code": lambda base, training: logo(base, training, mode="code", clip=0.015),
    "logo_joint": lambda base, training: logo(base, training, lam=0.3, jitter="both", joint_norm=True),
}


def one_step(recipe, ranks) -> dict:
    """The loss, the gradients (a step of plain SGD with learning rate 1) and the buffers after one step."""
    loop = assemble(recipe, ranks)
    if "main_norm" in dict(loop.method.named_buffers()):
        # In an epoch's first step LoGo's code mode would not move by its local term.
        loop.method.main_norm.fill_(0.5)
    before = {name: parameter.detach().clone() for name, parameter in loop.method.named_parameters()}
    index, images, sizes = next(iter(loop.batches.epoch()))
    loss = loop.step(0, index, images, sizes)["loss"]
    ranks.average_([loss])
    gradients = {
        name: before[name] - p.detach() for name, p in loop.method.named_parameters() if p.requires_grad
    }
    queues = {name: buffer for name, buffer in loop.method.named_buffers() if name.endswith(".queue")}
    return {"loss": loss, "gradients": gradients, "queues": queues}


def recipe_of(objective: str, base: str):
    plain = {"lr": 1.0, "momentum": 0.0, "weight_decay": 0.0}
    return RECIPES[objective](base, plain)


def boxes(ranks):
    """ContrastiveCrop's boxes after an epoch, of a number of images that two ranks cannot share evenly."""
    loop = assemble(contrastive("simclr"), ranks, image_set=scenes(61))
    loop.epoch()
    return loop.sampler.boxes


if __name__ == "__main__":
    torch.set_num_threads(1)
    with distributed.ranks(torch.device("cpu"), seed=0) as own:
        kinds = [(objective, base) for objective in RECIPES for base in METHODS]
        results = {kind: one_step(recipe_of(*kind), Ranks(0, "cpu", own.rank, own.world)) for kind in kinds}
        results["boxes"] = boxes(Ranks(0, "cpu", own.rank, own.world))
        if own.rank == 0:
            torch.save(results, sys.argv[1])
