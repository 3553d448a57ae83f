"""BatchNorm by factory: whose statistics it uses is one decision for the whole network, for maps and for rows
alike.

batch: the rows of this rank.  split: contiguous groups of them, as on several small devices (MoCo's BatchNorm
on one GPU).
sync: the rows of all ranks, on any backend (torch's own SyncBatchNorm refuses CPU tensors).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwhole.arithmetic import widened


class SplitBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm over `groups` contiguous parts of the batch, each with its own statistics; running ones are
    the groups' mean.
    """

    def __init__(self, channels: int, groups: int, affine: bool = True):
        super().__init__(channels, affine=affine)
        self.groups = groups

    def _check_input_dim(self, rows: Tensor) -> None:
        if rows.shape[0] % self.groups:
            raise ValueError(
                f"{rows.shape[0]} rows do not split into {self.groups} equal groups; change batch_size "
                "or norm_groups"
            )

    def forward(self, rows: Tensor) -> Tensor:
        if not self.training:
            return F.batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        self._check_input_dim(rows)
        means, variances = self.running_mean.repeat(self.groups, 1), self.running_var.repeat(self.groups, 1)
        parts = [
            F.batch_norm(part, mean, variance, self.weight, self.bias, True, self.momentum, self.eps)
            for part, mean, variance in zip(rows.chunk(self.groups), means, variances)
        ]
        self.running_mean.copy_(means.mean(0))
        self.running_var.copy_(variances.mean(0))
        self.num_batches_tracked += 1
        return torch.cat(parts)


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm over the rows of all ranks: mean first, then variance, each summed over ranks with
    gradients.
    """

    def __init__(self, channels: int, ranks, affine: bool = True):
        super().__init__(channels, affine=affine)
        self.ranks = ranks

    def _check_input_dim(self, rows: Tensor) -> None:
        pass

    def forward(self, rows: Tensor) -> Tensor:
        if not self.training or self.ranks.world == 1:
            return super().forward(rows)
        shape = (1, -1, *[1] * (rows.dim() - 2))
        axes = [0, *range(2, rows.dim())]
        wide = widened(rows)
        mean = self.ranks.total(wide.mean(axes)) / self.ranks.world
        centred = wide - mean.view(shape)
        variance = self.ranks.total(centred.square().mean(axes)) / self.ranks.world
        with torch.no_grad():
            count = rows.numel() // rows.shape[1] * self.ranks.world
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.num_batches_tracked += 1
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        out = centred * scale.view(shape)
        return (out if not self.affine else out + self.bias.view(shape)).to(rows.dtype)


class Normalisation:
    """The factory: `maps(channels)` for (B, C, H, W), `rows(channels)` for (R, C).

    kind: batch, split or sync.  groups: for split, the number of groups in the *global* batch; each rank
    takes its share, so that 2 ranks of 4 groups normalise as 1 rank of 8 does.
    """

    def __init__(self, kind: str, ranks, groups: int = 8):
        if kind == "split" and groups % ranks.world:
            raise ValueError(f"norm_groups is {groups}; it must be a multiple of the {ranks.world} processes")
        self.kind, self.ranks, self.groups = kind, ranks, groups

    def maps(self, channels: int) -> nn.Module:
        return nn.BatchNorm2d(channels) if self.kind == "batch" else self._shared(channels, True)

    def rows(self, channels: int, affine: bool = True) -> nn.Module:
        return (
            nn.BatchNorm1d(channels, affine=affine)
            if self.kind == "batch"
            else self._shared(channels, affine)
        )

    def _shared(self, channels: int, affine: bool) -> nn.Module:
        if self.kind == "split":
            return SplitBatchNorm(channels, self.groups // self.ranks.world, affine)
        return SyncBatchNorm(channels, self.ranks, affine)
