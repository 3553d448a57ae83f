"""Statistics: means of seeds, Student's t, scatter over seeds and test images, Holm's correction."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Summary:
    """Numbers over seeds: mean, sample standard deviation, and half the width of the mean's 95 % interval.

    spread and half are None for one number.  Check: 1, 2, 3 give 2, 1 and 4.303 / sqrt(3) = 2.484.
    """

    mean: float
    spread: float | None
    half: float | None
    count: int


def pack(correct: Sequence[bool]) -> str:
    """Which test images were right, as base64 of 8 images a byte; 10,000 images give 1,668 characters."""
    import numpy

    return base64.b64encode(numpy.packbits(numpy.asarray(correct, dtype=bool)).tobytes()).decode("ascii")


def unpack(text: str, count: int):
    """What `pack` packed: (count,) numpy booleans. ValueError where the text is not of that many images."""
    import numpy

    packed = base64.b64decode(text, validate=True)
    if len(packed) != -(-count // 8):
        raise ValueError(f"packed test images: {len(packed)} bytes; {count} images take {-(-count // 8)}")
    return numpy.unpackbits(numpy.frombuffer(packed, dtype=numpy.uint8), count=count).astype(bool)


def summary(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and half width of the 95 % interval; of one value the mean alone."""
    count, mean = len(values), math.fsum(values) / len(values)
    if count == 1:
        return Summary(mean, None, None, 1)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    return Summary(mean, spread, student(0.975, count - 1) * spread / math.sqrt(count), count)


@cache
def student(p: float, freedom: float) -> float:
    """The p-quantile of Student's t, 1/2 < p < 1, freedom >= 1.

    Check: 12.706, 4.303, 3.182 for p = 0.975 and freedom 1, 2, 3.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if probability_within(middle, freedom) < 2 * p - 1 else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def two_sided(mean: float, error: float, freedom: float) -> float:
    """Probability that Student's t is at least |mean| / error away from 0."""
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return max(0.0, 1 - probability_within(math.atan(abs(mean) / error / math.sqrt(freedom)), freedom))


def probability_within(angle: float, freedom: float, parts: int = 400) -> float:
    """P(|t| <= sqrt(freedom) tan(angle)) for Student's t.

    With t = sqrt(freedom) tan(angle) its density is cos(angle)^(freedom - 1), up to a factor.  The area under
    that curve is by Simpson's rule; the whole, up to pi / 2, is
        sqrt(pi) Gamma(freedom / 2) / (2 Gamma((freedom + 1) / 2)).
    """
    heights = [math.cos(angle * part / parts) ** (freedom - 1) for part in range(parts + 1)]
    weighted = heights[0] + heights[-1] + 4 * sum(heights[1::2]) + 2 * sum(heights[2:-1:2])
    whole = math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2)) * math.sqrt(math.pi) / 2
    return angle / (3 * parts) * weighted / whole


def paired(values: Mapping[int, float], others: Mapping[int, float]) -> dict[int, float]:
    """{seed: value less the other's} over the seeds that both have."""
    return {seed: values[seed] - others[seed] for seed in values if seed in others}


def parts(differences) -> tuple[float, float, float]:
    """The parts seeds, images and both of the mean's variance, as `verdicts.compare` defines them.

    differences: (S, N) by seed and test image, S and N at least 2, in points; parts in points squared.
    """
    seeds, images = differences.shape
    by_seed, by_image = differences.mean(1), differences.mean(0)
    residual = differences - by_seed[:, None] - by_image + differences.mean()
    both = (residual**2).sum() / ((seeds - 1) * (images - 1)) / (seeds * images)
    return float(by_seed.var(ddof=1) / seeds), float(by_image.var(ddof=1) / images), float(both)


def pooled_scatter(by_row: Mapping[str, Mapping[int, float]]) -> tuple[float, float]:
    """Variance of paired differences between seeds, pooled over rows, and its degrees of freedom.

    by_row: {row: {seed: difference}}.  All rows share the baseline's runs, so their differences on one seed
    correlate, by 1/2 if all arms scatter alike.  With variance v of a difference, S_r seeds of row r, n seeds
    that rows r and q share, the sum of squares  Q = sum over r, s of (d[r, s] - mean of r)^2  has
        mean v F,                 F = sum of (S_r - 1),
        variance 2 v^2 (F + G),   G = 1/4 sum over r != q of (n - n / S_r - n / S_q + n^2 / (S_r S_q)).
    Matching both to a chi-squared variable (Satterthwaite) gives F^2 / (F + G) degrees of freedom.
    Check: K rows with the same S seeds have (S - 1) 4 K / (K + 3).
    """
    rows = [differences for differences in by_row.values() if len(differences) > 1]
    if not rows:
        return 0.0, 1.0
    plain = sum(len(row) - 1 for row in rows)
    correlated = 0.0
    for place, row in enumerate(rows):
        for other in rows[:place]:
            n, mine, theirs = len(row.keys() & other.keys()), len(row), len(other)
            correlated += (n - n / mine - n / theirs + n * n / (mine * theirs)) / 2
    variance = sum(summary(list(row.values())).spread ** 2 * (len(row) - 1) for row in rows) / plain
    return variance, plain**2 / (plain + correlated)


def satterthwaite(total: float, part: float, freedom: float) -> float:
    """Degrees of freedom of a variance `total`, of which one part has `freedom` and the rest is sure.

    At most 1,000, where Student's t is as good as normal.
    """
    return 1000.0 if part == 0 else min(1000.0, freedom * max(1.0, total / part) ** 2)


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p (Holm 1979): the j-th smallest of m, times m - j + 1; at least the one before, at most 1.

    Check: 0.01, 0.04, 0.03, 0.005 give 0.03, 0.06, 0.06, 0.02.
    """
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = adjusted[place] = max(largest, min(1.0, (len(p) - rank) * p[place]))
    return adjusted
