"""Grouped BatchNorm against torch's own, group by group."""

import pytest
import torch
from torch import nn

from partwhole.models.normalisation import Normalisation, SplitBatchNorm
from partwhole.training.ranks import Ranks


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) * 3 + 1


@pytest.mark.parametrize("shape", [(12, 5, 4, 4), (12, 5)])
def test_split_normalises_each_group_as_a_batchnorm_of_its_own(shape):
    ours, theirs = SplitBatchNorm(5, 3), nn.BatchNorm2d(5) if len(shape) == 4 else nn.BatchNorm1d(5)
    rows = images(*shape)
    expected = torch.cat([theirs(part) for part in rows.chunk(3)])
    torch.testing.assert_close(ours(rows), expected)


def test_split_keeps_the_mean_of_its_groups_running_statistics():
    ours = SplitBatchNorm(5, 3)
    rows = images(12, 5)
    ours(rows)
    singles = [nn.BatchNorm1d(5) for _ in range(3)]
    for single, part in zip(singles, rows.chunk(3)):
        single(part)
    torch.testing.assert_close(ours.running_mean, torch.stack([s.running_mean for s in singles]).mean(0))
    torch.testing.assert_close(ours.running_var, torch.stack([s.running_var for s in singles]).mean(0))


@pytest.mark.parametrize("kind", ["batch", "split", "sync"])
def test_in_eval_mode_every_kind_is_torchs_batchnorm(kind):
    layer = Normalisation(kind, Ranks(), groups=3).maps(5)
    layer(images(12, 5, 4, 4))
    theirs = nn.BatchNorm2d(5)
    theirs.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer.eval()(images(7, 5, 4, 4)), theirs.eval()(images(7, 5, 4, 4)))


def test_rows_that_do_not_split_are_refused_in_one_line():
    with pytest.raises(ValueError, match="10 rows do not split into 3 equal groups"):
        SplitBatchNorm(5, 3)(images(10, 5))


def test_groups_that_do_not_divide_among_processes_are_refused():
    with pytest.raises(ValueError, match="norm_groups is 3; it must be a multiple of the 2 processes"):
        Normalisation("split", Ranks(world=2), groups=3)
