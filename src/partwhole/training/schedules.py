"""What the learning rate is at every step."""

from math import cos, pi

import torch
from torch import Tensor

from partwhole.recipes import schema


def learning_rate(training: schema.Training, step: int, steps_per_epoch: int) -> float:
    """The learning rate of step 0, 1, ...: a linear warm-up, then half a cosine from lr to final_lr.

    lr(t) = final + (lr - final) (1 + cos(pi t)) / 2, where t is the share of the epochs after warm-up that
    lies behind. The warm-up moves every iteration; the cosine every iteration or, with `training.step:
    epoch`, every epoch.
    Check: lr 0.5, final 0.05, 500 epochs, by epoch: 0.5 in the first, 0.275 in the 251st, 0.0500 in the last.
    """
    epoch = step / steps_per_epoch
    if epoch < training.warmup_epochs:
        return training.warmup_lr + (training.lr - training.warmup_lr) * epoch / training.warmup_epochs
    if training.step == "epoch":
        epoch = step // steps_per_epoch
    span = training.epochs - training.warmup_epochs
    share = min(max(epoch - training.warmup_epochs, 0) / span, 1.0) if span > 0 else 1.0
    return training.final_lr + (training.lr - training.final_lr) * (1 + cos(pi * share)) / 2


def table(training: schema.Training, steps_per_epoch: int) -> Tensor:
    """Every step's learning rate, float32 (epochs * steps_per_epoch,), so that the loop reads it on the
    device.
    """
    steps = range(training.epochs * steps_per_epoch)
    return torch.tensor(
        [learning_rate(training, step, steps_per_epoch) for step in steps], dtype=torch.float32
    )
