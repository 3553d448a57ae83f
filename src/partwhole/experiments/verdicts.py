"""Verdicts on a table: rows against a baseline, trends through ordered rows, whether the base learned."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from partwhole.experiments.statistics import (
    holm,
    paired,
    parts,
    pooled_scatter,
    satterthwaite,
    student,
    summary,
    two_sided,
)

LEVEL = 0.05  # at most this share of tables without any effect says "better" or "worse"
UNRECORDED = "the records do not say which test images were right"
Values = Mapping[str, Mapping[int, float]]  # {row: {seed: value}}
Correct = Mapping[str, Mapping[int, Sequence[bool]]]  # {row: {seed: (N,) bool}}, the same N test images


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An estimate in points (or the metric's unit), its uncertainty, and its verdict.

    error: standard error of mean; freedom: its degrees of freedom; both None on one seed.  images: 0 if not
    recorded.  p: two-sided; adjusted: by Holm over the `family` of estimates judged together; both None if no
    verdict is given, and then reason says why.
    """

    mean: float
    error: float | None
    freedom: float | None
    seeds: int
    images: int
    family: int = 1
    p: float | None = None
    adjusted: float | None = None
    reason: str = ""

    words = ("better", "worse")

    @property
    def half(self) -> float | None:
        """Half the width of the 95 % interval of this estimate alone."""
        return None if self.error is None else student(1 - LEVEL / 2, self.freedom) * self.error

    @property
    def resolvable(self) -> float | None:
        """The size at which it is resolved whatever the rest of the family shows (Bonferroni's bound)."""
        return None if self.error is None else student(1 - LEVEL / 2 / self.family, self.freedom) * self.error

    @property
    def verdict(self) -> str:
        """One of words, not resolved, or no verdict."""
        if self.adjusted is None:
            return "no verdict"
        return "not resolved" if self.adjusted > LEVEL else self.words[self.mean < 0]


@dataclass(frozen=True, kw_only=True)
class Comparison(Judged):
    """A row less the baseline, over the seeds that both have."""

    row: str
    baseline: str


@dataclass(frozen=True, kw_only=True)
class Trend(Judged):
    """A slope through ordered rows: mean is in points for each unit of the rows' position."""

    unit: str = "step"

    words = ("rising", "falling")


@dataclass(frozen=True)
class Learned:
    """Whether a base had learned, as a truth value, and the sentence that says so."""

    enough: bool
    sentence: str

    def __bool__(self) -> bool:
        return self.enough


def compare(
    arms: Values, correct: Correct | None, baseline: str, withheld: Mapping[str, str] | None = None
) -> dict[str, Comparison]:
    """Every row of a table against its baseline, {row: Comparison}; rows without a shared seed have none.

    arms: one metric; with correct it is 100 times the share of test images that were right.  withheld: {row:
    reason} for rows that get no verdict, just an interval; a reason under the baseline's name is for all.

    Model, crossed random effects.  A row's difference on seed s and test image i, in points, is
        D[s, i] = effect + A[s] + B[i] + C[s, i],    variances a, b, c;  S seeds, N images.
    Its mean has variance a / S + b / N + c / (S N).  The three estimates of `parts`, and what each estimates:
        seeds:  variance of the S seed means / S           a / S + c / (S N)
        images: variance of the N image means / N          b / N + c / (S N)
        both:   mean square of the residual / (S N)        c / (S N)
    seeds + images holds c twice, so the form used is seeds + images - both, never less than seeds or images.
    (The two-way bootstrap, Owen 2007, "The pigeonhole bootstrap", holds c up to three times.)

    seeds has S - 1 degrees of freedom, two as a rule, so it is pooled over all rows (`pooled_scatter`),
    but never less than the row's alone: three lucky points make no interval small, and a wild row is not
    judged by the calm of the others.  Its degrees of freedom: `satterthwaite`.  Holm's correction is over all
    rows that get a verdict.  How often this errs: tests/experiments/simulate_verdicts.py.
    """
    shared = {row: paired(values, arms.get(baseline, {})) for row, values in arms.items() if row != baseline}
    shared = {row: differences for row, differences in shared.items() if differences}
    pooled, freedom = pooled_scatter(shared)
    comparisons = []
    for row, differences in shared.items():
        count, by_image = len(differences), image_differences(correct or {}, row, baseline, differences)
        error = degrees = None
        if count > 1:
            total = seeds = max(pooled, summary(list(differences.values())).spread ** 2) / count
            if by_image is not None:
                _, images, both = parts(by_image)
                total = max(seeds, images, seeds + images - both)
            error, degrees = math.sqrt(total), satterthwaite(total, seeds, freedom)
        comparison = Comparison(
            row=row,
            baseline=baseline,
            mean=math.fsum(differences.values()) / count,
            error=error,
            freedom=degrees,
            seeds=count,
            images=0 if by_image is None else by_image.shape[1],
        )
        comparisons.append(judged(comparison, (withheld or {}).get(baseline) or (withheld or {}).get(row)))
    return {comparison.row: comparison for comparison in jointly(comparisons)}


def image_differences(correct: Correct, row: str, baseline: str, differences: Mapping[int, float]):
    """(S, N) differences in points, 100, 0 or -100, by seed and test image; None if any seed is not recorded.

    ValueError where test images and values disagree: they are then not of one evaluation.
    """
    import numpy

    ours, base = correct.get(row, {}), correct.get(baseline, {})
    if any(seed not in ours or seed not in base for seed in differences):
        return None
    if len({len(side[seed]) for side in (ours, base) for seed in differences}) > 1:
        raise ValueError(f"{row} and {baseline}: numbers of test images differ; evaluate both alike")
    right, base_right = (numpy.array([side[seed] for seed in differences], float) for side in (ours, base))
    points = 100 * (right - base_right)
    for (seed, difference), by_image in zip(differences.items(), points.mean(1)):
        if abs(difference - by_image) > 0.01:
            raise ValueError(
                f"{row} and {baseline}, seed {seed}: values differ by {difference:.2f} points, test images "
                f"by {by_image:.2f}; evaluate both again"
            )
    return points


def trend(positions: Mapping[str, float], arms: Values, correct: Correct | None, withheld: str = "") -> Trend:
    """The slope of a metric through rows that are ordered, by least squares with each seed as a block.

    value[row, seed] = level[seed] + slope * position[row] + rest,
    slope = sum of step * value / Q,   step = position - mean position on the seed,   Q = sum of step^2.
    Its variance is that of the rest / Q, with values - seeds - 1 degrees of freedom, plus that of the N test
    images' slopes / N.  The rest holds some of the images' scatter too, so the sum is cautious.
    positions: {row: number}.  withheld: a reason for no verdict.  ValueError where there are too few values.
    """
    import numpy

    centred = []  # (seed, row, step, value less the seed's mean)
    for seed in sorted({seed for row in positions for seed in arms[row]}):
        rows = [row for row in positions if seed in arms[row]]
        middle = math.fsum(positions[row] for row in rows) / len(rows)
        level = math.fsum(arms[row][seed] for row in rows) / len(rows)
        if len(rows) > 1:
            centred += [(seed, row, positions[row] - middle, arms[row][seed] - level) for row in rows]
    seeds = len({seed for seed, *_ in centred})
    freedom = len(centred) - seeds - 1
    squares = math.fsum(step**2 for _, _, step, _ in centred)
    if freedom < 1 or squares == 0:
        raise ValueError("a trend needs three rows at different positions, or two on two seeds")
    slope = math.fsum(step * value for _, _, step, value in centred) / squares
    total = rest = math.fsum((value - slope * step) ** 2 for _, _, step, value in centred) / freedom / squares
    images = 0
    if correct and all(seed in correct.get(row, {}) for seed, row, _, _ in centred):
        slopes = sum(100 * step / squares * numpy.array(correct[row][seed]) for seed, row, step, _ in centred)
        images, total = len(slopes), rest + float(slopes.var(ddof=1)) / len(slopes)
    degrees = satterthwaite(total, rest, freedom)
    through = Trend(mean=slope, error=math.sqrt(total), freedom=degrees, seeds=seeds, images=images)
    return jointly([judged(through, withheld)])[0]


def judged(estimate: Judged, withheld: str | None) -> Judged:
    """The estimate with its p, or with the reason why it gets no verdict."""
    unfit = "there is one seed only" if estimate.error is None else "" if estimate.images else UNRECORDED
    if reason := withheld or unfit:
        return replace(estimate, reason=reason)
    return replace(estimate, p=two_sided(estimate.mean, estimate.error, estimate.freedom))


def jointly(estimates: Iterable[Judged]) -> list[Judged]:
    """Estimates with p adjusted for all of them: a table's rows, its trend and other metrics if judged."""
    estimates = list(estimates)
    p = [estimate.p for estimate in estimates if estimate.p is not None]
    adjusted = iter(holm(p))
    family, results = max(1, len(p)), []
    for estimate in estimates:
        probability = None if estimate.p is None else next(adjusted)
        results.append(replace(estimate, family=family, adjusted=probability))
    return results


def learned(knn: float, raw_pixels: float | None, chance: float, scenes: bool) -> Learned:
    """Whether a base had learned, so that an objective may be judged on it; all in per cent.

    Its kNN must be 15 points above that of raw pixels; on scenes, above raw pixels and twice chance.
    """
    if raw_pixels is None:
        return Learned(False, "the base is not known to have learned: raw pixels are not recorded")
    bar = f"above raw pixels ({raw_pixels:.1f} %) and twice chance ({2 * chance:.1f} %)"
    enough = knn > raw_pixels and knn >= 2 * chance
    if not scenes:
        bar, enough = f"15 points above raw pixels ({raw_pixels:.1f} %)", knn - raw_pixels >= 15
    state = "has learned" if enough else "has not learned enough to judge an objective on it"
    return Learned(enough, f"the base {state}: kNN {knn:.1f} %; it must be {bar}")


def sentence(estimate: Judged, digits: int = 1) -> str:
    """The verdict in words, for prose; a worse row's interval is that of how much worse it is."""
    seeds = f"{estimate.seeds} seed{'s' * (estimate.seeds != 1)}"
    images = f"{estimate.images:,} test images" if estimate.images else "test images not counted"
    over = f"{seeds}, {images}"
    unit = f"points a {estimate.unit}" if isinstance(estimate, Trend) else "points"
    mean, interval = f"{estimate.mean:+.{digits}f} {unit}", ""
    if estimate.half is not None:
        sign = -1 if estimate.verdict == estimate.words[1] else 1
        low, high = sorted(sign * (estimate.mean + side * estimate.half) for side in (-1, 1))
        interval = f"95 % interval {low:.{digits}f} to {high:.{digits}f}, "
    if estimate.verdict in estimate.words:
        return f"{estimate.verdict} by {abs(estimate.mean):.{digits}f} {unit} ({interval}{over})"
    if estimate.verdict == "no verdict":
        return f"no verdict, since {estimate.reason}; measured: {mean} ({interval}{over})"
    hint = f"{estimate.resolvable:.{digits}f} would have been resolved"
    if abs(estimate.mean) > estimate.half:
        hint = f"alone it would be, but not as one of {estimate.family} comparisons; {hint}"
    return f"not resolved: {mean} ({interval}{over}; {hint})"
