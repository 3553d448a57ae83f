"""Heads: the small MLPs between pooled features and the cost."""

from torch import nn


def mlp(
    channels: int, widths: tuple[int, ...], *, norm=None, last_norm=None, output_bias: bool = True
) -> nn.Sequential:
    """Linear layers of the given widths with ReLU between them: (R, channels) -> (R, widths[-1]).

    norm: a function from a width to a layer, put after each hidden linear layer, which then has no bias of
    its own.
    last_norm: the same after the last one.  output_bias: a bias in the last one, where no norm follows.
    Linear layers are initialised as torch does.
    """
    layers: list[nn.Module] = []
    for place, width in enumerate(widths):
        last = place == len(widths) - 1
        layer_norm = last_norm if last else norm
        layers.append(nn.Linear(channels, width, bias=layer_norm is None and (output_bias or not last)))
        if layer_norm is not None:
            layers.append(layer_norm(width))
        if not last:
            layers.append(nn.ReLU(inplace=True))
        channels = width
    return nn.Sequential(*layers)
