"""SGD and LARS (You et al., arXiv 1708.03888) whose learning rate and whose decision to skip a step stay on
the device.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim.sgd import sgd

from partwhole.recipes import schema


def make(named_parameters: Iterable[tuple[str, Parameter]], training: schema.Training) -> "Optimiser":
    """The recipe's optimiser, in up to four groups: weights or norm and bias, each with the scheduled or the
    fixed lr.

    Norm parameters and biases are those of fewer than two dimensions. They are decayed only by SGD, and only
    where `training.decay_norm_and_bias` says so; LARS leaves them as plain momentum SGD. Where
    `training.fixed_predictor_lr`, parameters with `predictor` in their path keep `training.lr` whatever
    `set_lr` says.
    """
    members: dict[tuple[bool, bool], list[Parameter]] = {}
    for name, parameter in named_parameters:
        fixed = training.fixed_predictor_lr and "predictor" in name.split(".")
        members.setdefault((parameter.ndim < 2, fixed), []).append(parameter)
    lars = training.optimiser == "lars"
    groups = [
        {
            "params": parameters,
            "weight_decay": 0.0
            if small and (lars or not training.decay_norm_and_bias)
            else training.weight_decay,
            "trust": training.trust if lars and not small else None,
            "lr_inside": lars and not training.trust_clip,
            "fixed": fixed,
        }
        for (small, fixed), parameters in sorted(members.items(), key=lambda item: item[0])
    ]
    return Optimiser(groups, training.lr, momentum=training.momentum)


def set_lr(optimiser: "Optimiser", value: Tensor) -> None:
    """Copy a tensor () into the learning rate of all groups but the fixed; on one device the host waits for
    nothing.
    """
    optimiser.lr.copy_(value)


class Optimiser(torch.optim.Optimizer):
    """SGD with momentum m and decay c, group by group; with a trust coefficient t, LARS.

    SGD:      v <- m v + (g + c w);                 w <- w - lr v
    LARS:     v <- m v + lr r (g + c w);            w <- w - v        r = t |w| / (|g| + c |w|)
    clipped:  v <- m v + min(r / lr, 1) (g + c w);  w <- w - lr v
    r is 1 where |w| or |g| is 0, and so is the minimum.

    LARS keeps lr inside the momentum (`lr_inside`), for norm and bias too, whose r is 1 and c is 0: so its
    paper and LEWEL's code. The clipped form (`trust_clip`) is solo-learn's rule, which keeps lr outside.

    `lr` is one float32 tensor on the parameters' device: change it between steps with `set_lr`, never by
    replacing it, so that a CUDA graph sees the change. Momentum starts at zeros, which makes the first step v
    = g as torch's does.
    """

    def __init__(self, groups: list[dict], lr: float, *, momentum: float):
        groups = [{**group, "params": list(group["params"])} for group in groups if group["params"]]
        if not groups:
            raise ValueError("the optimiser got no parameters; pass at least one")
        self.lr = torch.tensor(float(lr), device=groups[0]["params"][0].device)
        for group in groups:
            group["lr"] = self.lr.clone() if group["fixed"] else self.lr
        super().__init__(groups, {"momentum": momentum})
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter, requires_grad=False)

    @torch.no_grad()
    def step(self, skip: Tensor | None = None) -> None:
        """Step every parameter that has a gradient. skip: float32 (), on the device; where it is 1 nothing
        changes,

        be the gradients infinite or not a number.
        """
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            gradients = laid_out_as(parameters, [parameter.grad for parameter in parameters])
            velocities = laid_out_as(
                parameters, [self.state[parameter]["momentum_buffer"] for parameter in parameters]
            )
            for parameter, velocity in zip(parameters, velocities):
                self.state[parameter]["momentum_buffer"] = velocity
            lr, decay = group["lr"], group["weight_decay"]
            if group["trust"] is not None:
                gradients, decay = trusted(parameters, gradients, group), 0.0
            if group["lr_inside"]:
                gradients, lr = torch._foreach_mul(gradients, lr), 1.0
            sgd(
                parameters, gradients, velocities, fused=True, found_inf=skip, lr=lr, weight_decay=decay,
                momentum=group["momentum"], dampening=0.0, nesterov=False, maximize=False,
            )  # fmt: skip

    def load_state_dict(self, state: dict) -> None:
        """Restore learning rates and momentum into the tensors that are in use."""
        rates = [group["lr"] for group in self.param_groups]
        velocities = {parameter: state["momentum_buffer"] for parameter, state in self.state.items()}
        super().load_state_dict(state)
        for group, rate in zip(self.param_groups, rates):
            group["lr"] = rate.copy_(group["lr"])
        for parameter, velocity in velocities.items():
            self.state[parameter]["momentum_buffer"] = velocity.copy_(
                self.state[parameter]["momentum_buffer"]
            )


def trusted(weights: list[Tensor], gradients: list[Tensor], group: dict) -> list[Tensor]:
    """g + c w, each layer's times its trust ratio (clipped where lr stays outside the momentum);
    new tensors.
    """
    decay = group["weight_decay"]
    size = torch.stack(torch._foreach_norm(weights))
    slope = torch.stack(torch._foreach_norm(gradients))
    ratio = group["trust"] * size / (slope + decay * size)
    if not group["lr_inside"]:
        ratio = (ratio / group["lr"]).clamp(max=1)
    ratio = torch.where((size > 0) & (slope > 0), ratio, 1.0)
    steps = torch._foreach_add(gradients, weights, alpha=decay)
    torch._foreach_mul_(steps, list(ratio.unbind()))
    return steps


def laid_out_as(parameters: list[Tensor], tensors: list[Tensor]) -> list[Tensor]:
    """The same values in each parameter's memory order: the fused step reads flat memory, and on a CPU never
    checks it.
    """
    return [
        tensor if tensor.stride() == parameter.stride() else torch.empty_like(parameter).copy_(tensor)
        for parameter, tensor in zip(parameters, tensors)
    ]
