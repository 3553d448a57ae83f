"""Statistics against scipy, a published example, brute force and the model they are derived from."""

import math

import numpy as np
import pytest
from scipy import stats

from partwhole.experiments.statistics import (
    holm,
    pack,
    parts,
    pooled_scatter,
    student,
    summary,
    two_sided,
    unpack,
)


def crossed(draw, a: float, b: float, c: float, seeds: int = 3, images: int = 40):
    """Differences of `verdicts.compare`'s model with effect 0 and variances a, b, c."""
    both = np.sqrt(c) * draw.standard_normal((seeds, images))
    return both + np.sqrt(a) * draw.standard_normal((seeds, 1)) + np.sqrt(b) * draw.standard_normal(images)


@pytest.mark.parametrize("freedom", [1, 1.4, 2, 3, 5.6, 30, 1000])
def test_student_equals_scipy(freedom):
    for p in (0.6, 0.975, 0.9964, 0.999):
        assert student(p, freedom) == pytest.approx(stats.t.ppf(p, freedom), rel=1e-5)
    for t in (0.0, 0.3, 2.0, 5.0, 40.0):
        assert two_sided(-t, 1.0, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), abs=1e-6)


def test_summary_gives_scipys_interval():
    values = [47.4, 48.5, 48.7]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    result = summary(values)
    assert (result.mean - result.half, result.mean + result.half) == pytest.approx((low, high))
    assert summary([47.4]).half is None


@pytest.mark.parametrize("count", [1, 8, 13, 10000])
def test_packed_test_images_come_back(count):
    correct = np.random.default_rng(0).random(count) < 0.4
    text = pack(correct)
    assert np.array_equal(unpack(text, count), correct)
    assert len(text) == 4 * math.ceil(math.ceil(count / 8) / 3)  # base64 takes 4 characters for 3 bytes
    with pytest.raises(ValueError, match=f"{count + 8} images take"):
        unpack(text, count + 8)


def test_holm_on_an_example_by_hand():
    # four p in order: 4 x 0.005 = 0.02, 3 x 0.01 = 0.03, 2 x 0.03 = 0.06, 1 x 0.04 = 0.04, raised to 0.06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.6]) == [1.0, 1.0] and holm([]) == []


@pytest.mark.parametrize(("a", "b", "c"), [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.3, 4, 20)])
def test_parts_estimate_what_compare_says(a, b, c):
    draw, tables = np.random.default_rng(1), 4000
    differences = [crossed(draw, a, b, c) for _ in range(tables)]
    seeds, images, both = np.mean([parts(table) for table in differences], axis=0)
    shared = c / (3 * 40)
    expected = (a / 3 + shared, b / 40 + shared, shared)
    assert (seeds, images, both) == pytest.approx(expected, rel=0.06, abs=1e-9)
    # so that seeds + images - both is the variance of the mean, which their sum overstates by `both`
    assert seeds + images - both == pytest.approx(np.var([table.mean() for table in differences]), rel=0.1)


def test_two_way_bootstrap_agrees_with_its_normal_form():
    draw = np.random.default_rng(2)
    differences = crossed(draw, 0.3, 4, 20, seeds=4, images=12)
    means = []
    for _ in range(20000):
        seeds, images = draw.integers(4, size=4), draw.integers(12, size=12)
        means.append(differences[np.ix_(seeds, images)].mean())
    seeds, images, both = parts(differences)
    # resampling divides by S, N where the estimates divide by S - 1, N - 1; it adds the residual once more
    expected = seeds * 3 / 4 + images * 11 / 12 + both * (3 / 4) * (11 / 12)
    assert np.var(means) == pytest.approx(expected, rel=4 * np.sqrt(2 / 20000))
    assert seeds + images - both < expected  # the form used is not cautious to that degree


def test_pooled_scatter_has_its_degrees_of_freedom():
    rows = {row: {seed: float(row * seed % 5) for seed in range(3)} for row in range(1, 8)}
    variance, freedom = pooled_scatter(rows)
    assert variance == pytest.approx(np.mean([np.var(list(row.values()), ddof=1) for row in rows.values()]))
    assert freedom == pytest.approx(2 * 4 * 7 / 10)
    assert pooled_scatter({1: rows[1]})[1] == 2  # alone: S - 1


def test_degrees_of_freedom_match_simulated_tables_of_unequal_seeds():
    draw, shapes = np.random.default_rng(3), [(0, 1, 2), (0, 1), (1, 2, 3, 4), (0, 1, 2, 3, 4)]
    variances = []
    for _ in range(6000):
        base = draw.standard_normal(5)
        rows = {seeds: {seed: draw.standard_normal() - base[seed] for seed in seeds} for seeds in shapes}
        variance, freedom = pooled_scatter(rows)
        variances.append(variance)
    assert np.mean(variances) == pytest.approx(2, rel=0.03)
    assert 2 * np.mean(variances) ** 2 / np.var(variances) == pytest.approx(freedom, rel=0.08)
