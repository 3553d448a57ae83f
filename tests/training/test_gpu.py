"""On a GPU: a step of every base, objective and sampler is what it is on the CPU, and waits for nothing."""

import pytest
import torch

from partwhole.experiments.run import assemble
from partwhole.training.ranks import Ranks
from support.tiny_recipes import METHODS, co_ssl, contrastive, lewel, tiny

KINDS = {"pooled": tiny, "lewel": lewel, "co_ssl": co_ssl, "contrastive_crop": contrastive}

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")]


class CpuNumbers(Ranks):
    """Ranks on any device that draw their random numbers on the CPU, so that two devices see the same."""

    def __init__(self, device: str):
        super().__init__(0, "cpu")
        self.device = torch.device(device)

    def draw(self, rows, *shape):
        return torch.rand(rows, *shape, generator=self.generator).to(self.device)

    def permutation(self, count):
        return torch.rand(count, generator=self.generator, dtype=torch.float64).argsort().to(self.device)


def stepped(recipe, ranks: Ranks):
    """The loop after one step, its loss, and the batch.

    Weights are drawn on the CPU, so they do not depend on the device.
    """
    loop = assemble(recipe, ranks)
    loop.method.train()
    batch = next(iter(loop.batches.epoch()))
    return loop, loop.step(0, *batch)["loss"].item(), batch


@pytest.mark.parametrize("base", sorted(METHODS))
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_step_on_the_gpu_is_that_on_the_cpu(kind, base):
    recipe = KINDS[kind](base)
    one, loss, _ = stepped(recipe, CpuNumbers("cpu"))
    two, other, _ = stepped(recipe, CpuNumbers("cuda"))
    assert other == pytest.approx(loss, rel=2e-3)
    parameters = dict(two.method.named_parameters())
    for name, parameter in one.method.named_parameters():
        torch.testing.assert_close(
            parameters[name].detach().cpu(),
            parameter.detach(),
            atol=2e-3,
            rtol=2e-2,
            msg=lambda m, n=name: f"{n}: {m}",
        )


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_step_never_waits_for_the_gpu(kind):
    loop, _, batch = stepped(KINDS[kind]("byol"), Ranks(0, "cuda"))
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss = loop.step(1, *batch)["loss"]  # raises where it waits
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert loss.isfinite()
