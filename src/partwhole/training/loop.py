"""The training loop: views, terms, backward, step, EMA and queue. Nothing in it waits for the device before the epoch ends."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from partwhole.evaluation.features import read_features
from partwhole.models.resnet import Features
from partwhole.training import optimisers
from partwhole.training.schedules import table


class Terms(nn.Module):
    """One phase's loss terms as a module that owns exactly the parameters they reach, which is what DDP has to watch."""

    def __init__(self, method, phase: str):
        super().__init__()
        self.watched = nn.ParameterList(method.trained(phase).values())
        self.__dict__["method"] = method
        self.phase = phase

    def forward(self, encoded) -> dict[str, Tensor]:
        return self.method.terms(encoded, self.phase)


class Phase:
    """A phase's parameters, their optimiser and the module that gives its loss."""

    def __init__(self, method, name: str, recipe, ranks):
        named = method.trained(name)
        self.parameters = list(named.values())
        self.optimiser = optimisers.make(named.items(), recipe.training)
        self.terms = Terms(method, name)
        if ranks.world > 1:
            self.terms = DistributedDataParallel(self.terms, gradient_as_bucket_view=True)


class Loop:
    """A method, its phases and its data, one epoch at a time. `state_dict` holds all that the next epoch depends on."""

    def __init__(self, recipe, method, batches, augment, ranks, precision):
        self.recipe, self.method, self.batches, self.augment = recipe, method, batches, augment
        self.ranks, self.precision = ranks, precision
        self.phases = [Phase(method, name, recipe, ranks) for name in method.phases]
        self.rates = table(recipe.training, batches.steps).to(ranks.device)
        steps = recipe.training.epochs * batches.steps
        self.progress = torch.arange(1, steps + 1, device=ranks.device, dtype=torch.float32) / steps
        self.sampler = augment.sampler
        self.sampler.begin(len(batches.image_set), recipe.training.epochs, recipe.views.size, ranks.device)
        self.epochs_done = 0

    def epoch(self, after_step=lambda: None) -> dict[str, float]:
        """Train on every image once; the mean of every loss term over the epoch's steps, and what the sampler says of its boxes."""
        self.method.train()
        self.sampler.before_epoch(self.epochs_done + 1)
        history = []
        for step, (index, images, sizes) in enumerate(self.batches.epoch(), self.epochs_done * self.batches.steps):
            history.append(self.step(step, index, images, sizes))
            after_step()
        self.ranks.average_([buffer for name, buffer in self.method.named_buffers() if "running_" in name])
        self.epochs_done += 1
        means = {name: torch.stack([terms[name] for terms in history]).mean() for name in history[0]}
        self.ranks.average_(list(means.values()))
        figures = {name: mean.item() for name, mean in means.items()}
        return figures | self.sampler.after_epoch(self.epochs_done, self.read_training_images)

    def step(self, step: int, index: Tensor, images: Tensor, sizes: Tensor | None = None) -> dict[str, Tensor]:
        """One step of every phase: index (B,), images (B, H, W, 3) uint8. The loss terms, on the device."""
        u, boxes = self.ranks.draw(len(index), self.augment.uniforms), self.sampler.boxes_of(index)
        views = self.augment(images, u, index, sizes=sizes, boxes=boxes)
        with self.precision.autocast():
            encoded = self.method.encode(views)
        seen = {}
        for phase in self.phases:
            with self.precision.autocast():
                terms = phase.terms(encoded)
            skip = self._backward(terms["loss"], phase.parameters)
            optimisers.set_lr(phase.optimiser, self.rates[step])
            phase.optimiser.step(skip=skip)
            phase.optimiser.zero_grad()
            seen |= {name: term.detach() for name, term in terms.items()}
        self.method.after_step(encoded, self.progress[step])
        return seen

    def _backward(self, loss: Tensor, parameters: list[nn.Parameter]) -> Tensor | None:
        """Gradients of exactly these parameters. With fp16: scaled up and back, and a flag on the device where they overflowed."""
        scaler = self.precision.scaler
        (loss if scaler is None else scaler.scale(loss)).backward(inputs=parameters)
        return None if scaler is None else scaler.unscale_and_check([p.grad for p in parameters])

    def read_training_images(self, read: Callable[[Features], Tensor]) -> Tensor:
        """`read` of the online encoder's features of every training image, whole and in order; each rank reads its part."""
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
            "optimisers": [phase.optimiser.state_dict() for phase in self.phases],
            "scaler": None if self.precision.scaler is None else self.precision.scaler.state_dict(),
            "sampler": self.sampler.state_dict(),
            "ranks": self.ranks.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        self.epochs_done = state["epochs_done"]
        self.method.load_state_dict(state["method"])
        for phase, saved in zip(self.phases, state["optimisers"]):
            phase.optimiser.load_state_dict(saved)
        if self.precision.scaler is not None:
            self.precision.scaler.load_state_dict(state["scaler"])
        self.sampler.load_state_dict(state["sampler"])
        self.ranks.load_state_dict(state["ranks"])
