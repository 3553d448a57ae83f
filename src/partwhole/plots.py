"""Figures: one style for the whole book, image grids with boxes, curves.

Every function returns the matplotlib Figure it drew.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Rectangle
from torch import Tensor

from partwhole.experiments.results import Floor, Line
from partwhole.experiments.statistics import summary

# Okabe and Ito's palette, told apart with any kind of colour vision: blue, orange, green, purple, sky,
# vermilion, yellow, black.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKS = (*COLOURS[:6], "#767676", "#000000")  # for lines and dots: yellow on white is hard to see


def style() -> None:
    """Set the book's look. Call it once, before the first figure."""
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 110,
            "figure.figsize": (6.4, 3.2),
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": plt.cycler(color=MARKS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 11,
            "axes.labelsize": 10,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
            "font.size": 10,
            "lines.linewidth": 1.8,
            "image.interpolation": "nearest",
        }
    )


def shown(
    images: Tensor, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
) -> np.ndarray:
    """Images as numpy (N, H, W, 3) in [0, 1]: from uint8 (N, H, W, 3), or from float (N, 3, H, W),
    denormalised by mean and std.
    """
    images = images.detach().cpu()
    if images.dtype == torch.uint8:
        return images.numpy() / 255
    if mean is not None and std is not None:
        images = images * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    return images.permute(0, 2, 3, 1).clamp(0, 1).numpy()


def grid(
    rows: Sequence[Tensor | np.ndarray],
    *,
    title: str,
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    boxes: Sequence[Sequence] | None = None,
    cell: float = 0.85,
):
    """A grid of images. rows: each a batch as `shown` takes or returns it.

    boxes: for each row, for each image, a list of (top, left, height, width) in pixels, in the palette's
    order.  cell: inches.
    """
    pictures = [row if isinstance(row, np.ndarray) else shown(row) for row in rows]
    columns = max(len(row) for row in pictures)
    figure, axes = plt.subplots(
        len(pictures),
        columns,
        figsize=(columns * cell + 0.9 * bool(row_names), len(pictures) * cell + 0.4),
        squeeze=False,
        gridspec_kw={"wspace": 0.04, "hspace": 0.04},
    )
    for r, row in enumerate(pictures):
        for c, axis in enumerate(axes[r]):
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[:].set_visible(False)
            if c < len(row):
                axis.imshow(row[c])
            for place, (top, left, height, width) in enumerate(boxes[r][c] if boxes and c < len(row) else ()):
                edge = COLOURS[place % len(COLOURS)]
                axis.add_patch(
                    Rectangle(
                        (left - 0.5, top - 0.5), width, height, fill=False, edgecolor=edge, linewidth=1.8
                    )
                )
            if r == 0 and c < len(column_names):
                axis.set_title(column_names[c], fontsize=8, loc="center")
        if r < len(row_names):
            axes[r, 0].set_ylabel(row_names[r], rotation=0, ha="right", va="center", fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def curves(
    lines: dict[str, tuple[Sequence, Sequence]],
    *,
    title: str,
    x: str,
    y: str,
    levels: dict[str, float] | None = None,
):
    """Lines by name, each (xs, ys). levels: dashed lines by name, such as a chance level. x, y: axis labels
    with units.
    """
    figure, axis = plt.subplots()
    for name, (xs, ys) in lines.items():
        axis.plot(xs, ys, label=name, marker="o" if len(xs) <= 12 else None, markersize=3.5)
    for name, level in (levels or {}).items():
        axis.axhline(level, linestyle="--", color="0.35", linewidth=1.2, label=name)
    axis.set(xlabel=x, ylabel=y, title=title)
    if len(lines) + len(levels or {}) > 1:
        axis.legend(fontsize=9)
    return figure


def differences(pairs: dict[str, Sequence[float]], *, title: str, x: str):
    """Paired differences by name: a dot a pair, their mean, its 95 % interval, a line at zero; none where
    there is no pair.
    """
    pairs = {name: values for name, values in pairs.items() if values}
    figure, axis = plt.subplots(figsize=(6.8, 0.5 * len(pairs) + 1.3))
    for place, (values, colour) in enumerate(zip(pairs.values(), MARKS)):
        about = summary(list(values))
        dots(axis, place, list(values), about.mean, about.half, colour)
    axis.axvline(0, color="0.35", linewidth=1.2)
    axis.set(
        yticks=range(len(pairs)),
        yticklabels=list(pairs),
        ylim=(len(pairs) - 0.5, -0.5),
        xlabel=x,
        title=title,
    )
    return figure


def dots(
    axis: plt.Axes, place: int, values: Sequence[float], mean: float, half: float | None, colour: str
) -> None:
    """Values as dots on one height, their mean, and a bar of half a width to either side."""
    if half is not None:
        ends = [mean - half, mean + half]
        # A cap would lengthen it.
        axis.plot(ends, [place] * 2, color=colour, linewidth=6, alpha=0.3, solid_capstyle="butt")
    axis.plot(values, [place] * len(values), "o", color=colour, markersize=5)
    axis.plot(mean, place, "|", color=colour, markersize=18, markeredgewidth=2.5)


def table(lines: Sequence[Line], floors: Sequence[Floor], *, title: str, x: str):
    """One metric of a table: left a dot a run, with pixels and chance; right each row less its baseline, with
    95 % intervals.

    lines: of one metric.  floors: of their images; empty where the metric is no accuracy.  x: the metric with
    its unit. A dash at a row's height is the raw pixels of its images; the dotted line is chance.  No right
    panel without a comparison.
    """
    lines = [line for line in lines if line.ours is not None]
    compared = any(line.comparison for line in lines)
    figure, axes = plt.subplots(
        1, 2 if compared else 1, figsize=(8.4, 0.3 * len(lines) + 1.2), sharey=True, squeeze=False
    )
    pixels = {row: floor.record["metrics"] for floor in floors if floor.record for row in floor.rows}
    for place, line in enumerate(lines):
        axes[0, 0].plot(
            list(line.values.values()),
            [place] * line.ours.count,
            "o",
            color=COLOURS[0],
            markersize=4,
            alpha=0.7,
        )
        axes[0, 0].plot(line.ours.mean, place, "|", color=COLOURS[0], markersize=12, markeredgewidth=2.2)
        if line.row in pixels:
            for key, dashes, name in (("raw_pixels", "--", "raw pixels"), ("chance", ":", "chance")):
                label = name if place == 0 else None
                level = [pixels[line.row][key]] * 2
                axes[0, 0].plot(
                    level, [place - 0.5, place + 0.5], dashes, color="0.35", linewidth=1.4, label=label
                )
        if line.comparison is not None:
            base = next((other.values for other in lines if other.row == line.comparison.baseline), {})
            paired = [value - base[seed] for seed, value in line.values.items() if seed in base]
            dots(axes[0, 1], place, paired, line.comparison.mean, line.comparison.half, COLOURS[1])
    axes[0, 0].set(
        yticks=range(len(lines)),
        yticklabels=[line.label for line in lines],
        ylim=(len(lines) - 0.5, -0.5),
        xlabel=x,
    )
    if pixels:
        axes[0, 0].set_xlim(left=0)
        axes[0, 0].legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0)
    if compared:
        axes[0, 1].axvline(0, color="0.35", linewidth=1.2)
        axes[0, 1].set(xlabel="less its baseline; bar: 95 % interval")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def matrices(
    values: dict[str, Tensor],
    *,
    title: str,
    x: str,
    y: str,
    limits: tuple[float, float] = (0, 1),
    numbers: bool = True,
    blocks: int = 0,
):
    """Matrices side by side, by name, on one colour scale.

    numbers: write each entry that is not 0 into its cell.  blocks: outline the diagonal blocks of this side.
    """
    shapes = [value.shape for value in values.values()]
    widths = [columns for _, columns in shapes]
    figure, axes = plt.subplots(
        1,
        len(values),
        figsize=(7.2, 3.4),
        squeeze=False,
        layout="compressed",
        gridspec_kw={"width_ratios": widths},
    )
    colours, (low, high) = ("RdBu_r" if limits[0] < 0 else "Blues"), limits
    for axis, (name, value) in zip(axes[0], values.items()):
        value = value.detach().cpu().float()
        picture = axis.imshow(value, vmin=low, vmax=high, cmap=colours)
        for row, column in value.nonzero().tolist() if numbers else ():
            entry = value[row, column].item()
            ink = "white" if entry > low + 0.6 * (high - low) else "black"
            axis.text(
                column, row, f"{entry:.3g}".lstrip("0"), ha="center", va="center", fontsize=8, color=ink
            )
        for corner in range(0, min(value.shape), blocks) if blocks else ():
            axis.add_patch(Rectangle((corner - 0.5, corner - 0.5), blocks, blocks, fill=False, linewidth=1.2))
        axis.grid(False)
        axis.set(xlabel=x, ylabel=y if axis is axes[0, 0] else "")
        axis.set_title(name, fontsize=10)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.yaxis.get_major_locator().set_params(integer=True)
    figure.colorbar(picture, ax=axes[0].tolist(), shrink=0.7)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure
