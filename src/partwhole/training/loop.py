"""The training loop: views, terms, backward, step, EMA and queue.

Nothing in it waits for the device before the epoch ends.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from partwhole.evaluation.features import read_features
from partwhole.methods.method import Encoded, Method, Phase
from partwhole.models.resnet import Features
from partwhole.recipes.schema import Recipe
from partwhole.training import optimisers
from partwhole.training.batches import Batches
from partwhole.training.precision import Precision
from partwhole.training.ranks import Ranks
from partwhole.training.schedules import table
from partwhole.views.augment import Augment


class Terms(nn.Module):
    """One phase's loss terms as a module that owns exactly the parameters they reach, which is what DDP has
    to watch.
    """

    def __init__(self, method: Method, phase: Phase):
        super().__init__()
        self.watched = nn.ParameterList(method.trained(phase).values())
        self.__dict__["method"] = method
        self.phase = phase

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        return self.method.terms(encoded, self.phase)


class Stage:
    """A phase with its parameters, their optimiser and the module that gives its loss."""

    def __init__(self, method: Method, phase: Phase, recipe: Recipe, ranks: Ranks):
        named = method.trained(phase)
        self.phase, self.parameters = phase, list(named.values())
        lr = {} if phase.lr is None else {"lr": phase.lr}
        self.optimiser = optimisers.make(named.items(), recipe.training.model_copy(update=lr))
        self.terms = Terms(method, phase)
        if ranks.world > 1:
            self.terms = DistributedDataParallel(self.terms, gradient_as_bucket_view=True)


class Loop:
    """A method, its phases and its data, one epoch at a time. `state_dict` holds all that the next epoch
    depends on.
    """

    def __init__(
        self,
        recipe: Recipe,
        method: Method,
        batches: Batches,
        augment: Augment,
        ranks: Ranks,
        precision: Precision,
    ):
        self.recipe, self.method, self.batches, self.augment = recipe, method, batches, augment
        self.ranks, self.precision = ranks, precision
        self.stages = [Stage(method, phase, recipe, ranks) for phase in method.phases]
        self.rates = table(recipe.training, batches.steps).to(ranks.device)
        steps = recipe.training.epochs * batches.steps
        self.progress = torch.arange(1, steps + 1, device=ranks.device, dtype=torch.float32) / steps
        self.sampler = augment.sampler
        image_set = batches.image_set
        self.sampler.begin(
            len(image_set), recipe.training.epochs, recipe.views.size, ranks.device, image_set.boxes
        )
        self.epochs_done = 0

    def epoch(self, after_step=lambda: None) -> dict[str, float]:
        """Train on every image once; the mean of every loss term over the epoch's steps, and what the sampler
        says of its boxes.
        """
        self.method.train()
        self.sampler.before_epoch(self.epochs_done + 1)
        self.method.before_epoch(self.epochs_done + 1)
        history = []
        first = self.epochs_done * self.batches.steps
        for step, (index, images, sizes) in enumerate(self.batches.epoch(), first):
            history.append(self.step(step, index, images, sizes))
            after_step()
        self.ranks.average_([buffer for name, buffer in self.method.named_buffers() if "running_" in name])
        self.epochs_done += 1
        means = {name: torch.stack([terms[name] for terms in history]).mean() for name in history[0]}
        self.ranks.average_(list(means.values()))
        figures = {name: mean.item() for name, mean in means.items()}
        return figures | self.sampler.after_epoch(self.epochs_done, self.read_training_images)

    def step(
        self, step: int, index: Tensor, images: Tensor, sizes: Tensor | None = None
    ) -> dict[str, Tensor]:
        """One step of every phase: index (B,), images (B, H, W, 3) uint8. The loss terms, on the device.

        Terms of phases before the last one are named after their phase, so that its `loss` does not hide
        theirs.
        """
        u, boxes = self.ranks.draw(len(index), self.augment.uniforms), self.sampler.boxes_of(index)
        views = self.augment(images, u, index, sizes=sizes, boxes=boxes)
        encoded, logged = None, {}
        for stage in self.stages:
            phase = stage.phase
            if encoded is None or phase.fresh:
                with self.precision.autocast():
                    encoded = self.method.encode(views, phase)
            with self.precision.autocast():
                terms = stage.terms(encoded)
            skip = self._backward(terms["loss"], stage)
            if phase.lr is None:
                optimisers.set_lr(stage.optimiser, self.rates[step])
            stage.optimiser.step(skip=skip)
            stage.optimiser.zero_grad()
            prefix = "" if stage is self.stages[-1] else f"{phase.name}_"
            logged |= {prefix + name: term.detach() for name, term in terms.items()}
        self.method.after_step(encoded, self.progress[step])
        return logged

    def _backward(self, loss: Tensor, stage: Stage) -> Tensor | None:
        """Gradients of exactly the phase's parameters, within the phase's bound.

        With fp16: scaled up and back, and a flag on the device where they overflowed.
        """
        scaler = self.precision.scaler
        (loss if scaler is None else scaler.scale(loss)).backward(inputs=stage.parameters)
        gradients = [parameter.grad for parameter in stage.parameters]
        skip = None if scaler is None else scaler.unscale_and_check(gradients)
        if stage.phase.bounded:
            norm = torch.stack(torch._foreach_norm(gradients)).norm()
            bound = self.method.bound(stage.phase, norm)
            if bound is not None:
                torch._foreach_mul_(gradients, (bound / (norm + 1e-12)).clamp(max=1))
        return skip

    def read_training_images(self, read: Callable[[Features], Tensor]) -> Tensor:
        """`read` of the online encoder's features of every training image, whole and in order; each rank
        reads its part.
        """
        image_set = self.batches.image_set
        share = -(-len(image_set) // self.ranks.world)
        part = image_set.part(self.ranks.rank * share, (self.ranks.rank + 1) * share)
        with self.precision.autocast():
            values = read_features(
                self.method.encoder, part, read, device=self.ranks.device, size=self.recipe.views.size
            )
        missing = values.new_zeros(share - len(values), *values.shape[1:])
        return self.ranks.gather(torch.cat([values, missing]))[: len(image_set)]

    def state_dict(self) -> dict:
        return {
            "epochs_done": self.epochs_done,
            "method": self.method.state_dict(),
            "optimisers": [stage.optimiser.state_dict() for stage in self.stages],
            "scaler": None if self.precision.scaler is None else self.precision.scaler.state_dict(),
            "sampler": self.sampler.state_dict(),
            "ranks": self.ranks.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        self.epochs_done = state["epochs_done"]
        self.method.load_state_dict(state["method"])
        for stage, saved in zip(self.stages, state["optimisers"]):
            stage.optimiser.load_state_dict(saved)
        if self.precision.scaler is not None:
            self.precision.scaler.load_state_dict(state["scaler"])
        self.sampler.load_state_dict(state["sampler"])
        self.ranks.load_state_dict(state["ranks"])
