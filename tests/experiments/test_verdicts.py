"""Verdicts: against scipy, in words, and how often they are wrong."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.simulate_verdicts import false_alarms
from partwhole.experiments.verdicts import UNRECORDED, Comparison, compare, jointly, learned, sentence, trend

BASE = {0: 40.0, 1: 39.4, 2: 39.0}


def right(share: float, images: int = 2000, seed: int = 0):
    """(images,) bool of which exactly that many per cent are true."""
    return np.random.default_rng(seed).permutation(images) < round(images * share / 100)


def table(**rows: dict[int, float]):
    """Arms and which test images they got right, the base's among them."""
    arms = {"base": BASE, **rows}
    images = {row: {seed: right(value, seed=seed) for seed, value in arms[row].items()} for row in arms}
    return arms, images


def comparison(mean: float, error: float = 0.4, p: float = 0.001, **fields) -> Comparison:
    fields = {"freedom": 1000.0, "seeds": 3, "images": 10000, "row": "row", "baseline": "base"} | fields
    return Comparison(mean=mean, error=error, p=p, **fields)


def test_one_row_on_seeds_alone_has_the_interval_of_scipys_paired_test():
    row = {0: 41.5, 1: 40.1, 2: 40.9}
    theirs = stats.ttest_rel(list(row.values()), list(BASE.values()))
    ours = compare({"base": BASE, "row": row}, None, "base")["row"]
    interval = theirs.confidence_interval(0.95)
    assert (ours.mean - ours.half, ours.mean + ours.half) == pytest.approx((interval.low, interval.high))
    assert (ours.verdict, ours.reason, ours.p) == ("no verdict", UNRECORDED, None)


def test_test_images_only_make_the_interval_wider():
    arms, images = table(row={0: 41.5, 1: 40.1, 2: 40.9})
    with_images, without = compare(arms, images, "base")["row"], compare(arms, None, "base")["row"]
    assert with_images.error >= without.error and with_images.images == 2000 and with_images.p is not None


def test_three_lucky_points_make_no_interval_small():
    arms, _ = table(lucky={0: 40.51, 1: 39.9, 2: 39.5}, other={0: 41.0, 1: 38.4, 2: 39.0})
    comparisons = compare(arms, None, "base")
    alone = compare({row: arms[row] for row in ("base", "lucky")}, None, "base")["lucky"]
    assert alone.half < 0.05 and comparisons["lucky"].half > 1
    assert comparisons["other"].error == pytest.approx(np.std([1.0, -1.0, 0.0], ddof=1) / math.sqrt(3))


def test_the_same_images_in_every_run_leave_the_variance_of_a_proportion():
    base = np.zeros(2000, bool)
    row = np.arange(2000) < 100  # 100 images more, on every seed: 5 points
    arms = {"base": dict.fromkeys(range(3), 0.0), "row": dict.fromkeys(range(3), 5.0)}
    images = {"base": dict.fromkeys(range(3), base), "row": dict.fromkeys(range(3), row)}
    result = compare(arms, images, "base")["row"]
    assert result.error == pytest.approx(100 * math.sqrt(0.05 * 0.95 / 1999)) and result.verdict == "better"


def test_holm_is_over_the_rows_that_get_a_verdict():
    arms, images = table(a={0: 50.0, 1: 49.4, 2: 49.0}, b={0: 40.0, 1: 39.5, 2: 39.0}, c={0: 41.0})
    results = compare(arms, images, "base", withheld={"b": "its crops did not move"})
    assert [results[row].family for row in "abc"] == [1, 1, 1]
    assert (results["a"].verdict, results["b"].reason) == ("better", "its crops did not move")
    assert results["c"].reason == "there is one seed only" and results["c"].half is None
    both = jointly([comparison(1.0, p=0.03), comparison(-1.0, p=0.02)])
    assert [(one.adjusted, one.verdict) for one in both] == [(0.04, "better"), (0.04, "worse")]


def test_a_base_that_has_not_learned_is_judged_on_nothing():
    arms, images = table(a={0: 50.0, 1: 49.4, 2: 49.0})
    base = learned(40.0, 38.0, 10.0, scenes=False)
    result = compare(arms, images, "base", withheld={"base": base.sentence})["a"]
    assert not base and result.verdict == "no verdict"
    assert "15 points above raw pixels (38.0 %)" in sentence(result)
    assert learned(53.0, 38.0, 10.0, scenes=False) and not learned(52.9, 38.0, 10.0, scenes=False)
    assert learned(20.0, 12.0, 10.0, scenes=True) and not learned(19.0, 12.0, 10.0, scenes=True)
    assert not learned(30.0, 30.0, 10.0, scenes=True) and not learned(60.0, None, 10.0, scenes=False)


def test_test_images_of_another_evaluation_are_refused():
    arms, images = table(row={0: 41.5, 1: 40.1, 2: 40.9})
    images["row"][1] = right(45.0)
    with pytest.raises(ValueError, match=r"seed 1: values differ by 0\.70 points, test images by 5\.60"):
        compare(arms, images, "base")
    images["row"][1] = right(40.1, images=1000)
    with pytest.raises(ValueError, match="numbers of test images differ"):
        compare(arms, images, "base")


def test_a_trend_on_one_seed_is_scipys_regression():
    positions, values = {"a": 0.1, "b": 0.6, "c": 2.0, "d": 4.0}, {"a": 30.0, "b": 31.5, "c": 31.0, "d": 34.0}
    theirs = stats.linregress(list(positions.values()), list(values.values()))
    ours = trend(positions, {row: {0: value} for row, value in values.items()}, None)
    assert (ours.mean, ours.error, ours.freedom) == pytest.approx((theirs.slope, theirs.stderr, 2))


def test_a_trend_takes_each_seed_as_a_block():
    draw, positions = np.random.default_rng(4), {"a": 0.0, "b": 1.0, "c": 3.0}
    arms = {row: {seed: float(9 * seed + draw.standard_normal()) for seed in range(3)} for row in positions}
    del arms["b"][2]
    cells = [(positions[row], seed, arms[row][seed]) for row in arms for seed in arms[row]]
    design = np.array([[x, *(seed == block for block in range(3))] for x, seed, _ in cells], float)
    y = np.array([value for *_, value in cells])
    coefficients, rest, *_ = np.linalg.lstsq(design, y, rcond=None)
    error = math.sqrt(rest[0] / (8 - 4) * np.linalg.inv(design.T @ design)[0, 0])
    ours = trend(positions, arms, None)
    assert (ours.mean, ours.error, ours.freedom) == pytest.approx((coefficients[0], error, 4))
    with pytest.raises(ValueError, match="three rows"):
        trend({"a": 0.0, "b": 1.0}, {"a": {0: 1.0}, "b": {0: 2.0}}, None)


def test_a_trend_with_test_images_gets_a_verdict():
    arms, images = table(b={0: 45.0, 1: 44.0, 2: 44.5}, c={0: 50.0, 1: 49.5, 2: 49.0})
    ours = trend({"base": 0, "b": 1, "c": 2}, arms, images)
    assert ours.verdict == "rising"
    assert sentence(ours).startswith("rising by 5.0 points a step (95 % interval ")
    assert ours.error > trend({"base": 0, "b": 1, "c": 2}, arms, None).error


def test_sentences():
    cases = ((1.2, 0.003), (-1.2, 0.003), (-0.2, 0.6))
    better, worse, unresolved = (jointly([comparison(mean, p=p)])[0] for mean, p in cases)
    assert sentence(better) == "better by 1.2 points (95 % interval 0.4 to 2.0, 3 seeds, 10,000 test images)"
    assert sentence(worse) == "worse by 1.2 points (95 % interval 0.4 to 2.0, 3 seeds, 10,000 test images)"
    expected = "not resolved: -0.2 points (95 % interval -1.0 to 0.6, 3 seeds, 10,000 test images; "
    assert sentence(unresolved) == expected + "0.8 would have been resolved)"
    crowded = jointly([comparison(0.9, p=0.025), *[comparison(0.0, p=1.0)] * 3])[0]
    assert "alone it would be, but not as one of 4 comparisons; 1.0 would have" in sentence(crowded)
    bare = compare({"base": {0: 40.0}, "row": {0: 41.0}}, None, "base")["row"]
    expected = (
        "no verdict, since there is one seed only; measured: +1.0 points (1 seed, test images not counted)"
    )
    assert sentence(bare) == expected


@pytest.mark.parametrize("scatter", [0.3, [3.0, 1.0, 1.0, 1.0]], ids=["alike", "baseline three times"])
def test_at_most_65_of_1000_tables_without_effect_get_a_verdict(scatter):
    shares = false_alarms(1000, arms=4, seeds=3, images=2000, scatter=scatter)
    assert shares["new"] <= 0.065
    assert shares["yesterday, alone"] > 0.1  # the rule that this one replaces


def test_two_points_are_resolved_at_the_measured_scatter():
    assert false_alarms(200, arms=4, images=10000, scatter=0.3, effect=2.0, rules=["new"])["new"] > 0.8
