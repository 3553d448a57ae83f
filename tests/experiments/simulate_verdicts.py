"""How often tables without any effect get a verdict, and how often a true effect is resolved.

.venv/bin/python tests/experiments/simulate_verdicts.py prints all rates, in half a minute.

Arm a is right about test image i on seed s if
    difficulty[i] + taste[a, i] + run[a, s] + chance[a, s, i] > threshold[a],    all normal.
taste is what an objective does to an image on every seed, run is the seed scatter that kNN shows.  Thresholds
are such that all arms are right equally often over all seeds and images; `effect` raises the first row.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np

from partwhole.experiments.statistics import paired, pooled_scatter, student, summary
from partwhole.experiments.verdicts import compare, trend

DIFFICULTY, TASTE, CHANCE, RIGHT = 2.0, 0.3, 0.5, 0.45  # two arms then disagree on about 12 % of the images
RESULTS = Path(__file__).parents[2] / "data" / "results"
MEASURED = {"lewel/controls": "byol", "contrastive_crop/components": "random", "lewel/background": "byol"}


def tables(count: int, seeds: Sequence[int], images: int, scatter: Sequence[float], effect: float):
    """count tables, each {row: {seed: (images,) bool}}.

    seeds: how many, and scatter: of a run, in points; both by arm, the baseline first.  effect: in points.
    """
    arms, draw, normal = len(seeds), np.random.default_rng(0), NormalDist()
    image_spread = math.hypot(DIFFICULTY, TASTE, CHANCE)
    points = 100 * normal.pdf(normal.inv_cdf(RIGHT)) / image_spread  # accuracy gained by one unit of run
    runs = np.array(scatter) / points
    wanted = [RIGHT + effect / 100 * (arm == 1) for arm in range(arms)]
    thresholds = [-math.hypot(image_spread, run) * normal.inv_cdf(share) for run, share in zip(runs, wanted)]
    for _ in range(count):
        difficulty = DIFFICULTY * draw.standard_normal(images, np.float32)
        right = {}
        for arm in range(arms):
            taste = TASTE * draw.standard_normal(images, np.float32) - np.float32(thresholds[arm])
            chance = CHANCE * draw.standard_normal((seeds[arm], images), np.float32)
            shifts = (runs[arm] * draw.standard_normal(seeds[arm])).astype(np.float32)
            answers = difficulty + taste + shifts[:, None] + chance > 0
            right[f"row{arm}" if arm else "base"] = dict(enumerate(answers))
        yield right


def verdicts(right: dict, rule: str) -> list[str]:
    """The rows' verdicts under a rule; yesterday's: Student's t, alone or with Bonferroni's correction."""
    arms = {row: {seed: 100 * float(right[row][seed].mean()) for seed in right[row]} for row in right}
    if rule == "new":
        return [comparison.verdict for comparison in compare(arms, right, "base").values()]
    if rule == "trend":
        return [trend({row: place for place, row in enumerate(arms)}, arms, right).verdict]
    words, rows = [], len(arms) - 1
    for row in list(arms)[1:]:
        difference = summary(list(paired(arms[row], arms["base"]).values()))
        freedom = difference.count - 1
        questions = 1 if rule == "yesterday, alone" else rows
        wider = student(1 - 0.025 / questions, freedom) / student(0.975, freedom)
        sure = abs(difference.mean) > difference.half * wider
        words.append(("better" if difference.mean > 0 else "worse") if sure else "not resolved")
    return words


RULES = ("new", "yesterday, alone", "yesterday, all rows")


def false_alarms(
    count: int = 1000, arms: int = 4, seeds: int | Sequence[int] = 3, images: int = 2000,
    scatter: float | Sequence[float] = 0.3, effect: float = 0.0, rules: Sequence[str] = RULES,
) -> dict[str, float]:  # fmt: skip
    """Share of tables with any "better" or "worse"; with an effect, share whose raised row is "better"."""
    seeds = [seeds] * arms if isinstance(seeds, int) else seeds
    scatter = [scatter] * arms if isinstance(scatter, int | float) else scatter
    hits = dict.fromkeys(rules, 0)
    for right in tables(count, seeds, images, scatter, effect):
        for rule in rules:
            words = verdicts(right, rule)
            hits[rule] += words[0] == "better" if effect else any(word != "not resolved" for word in words)
    return {rule: number / count for rule, number in hits.items()}


def measured(table: str, baseline: str) -> float:
    """Standard deviation over seeds of a table's paired kNN differences, pooled over rows; from records."""
    knn: dict[str, dict[int, float]] = {}
    for path in sorted((RESULTS / table).glob("*-study-s*.json")):
        row, seed = path.stem.split("-study-s")
        knn.setdefault(row, {})[int(seed)] = json.loads(path.read_text())["metrics"]["knn"]
    base = knn.pop(baseline)
    return math.sqrt(pooled_scatter({row: paired(values, base) for row, values in knn.items()})[0])


def main() -> None:
    """Print all rates."""
    cases = {
        "2 arms": {"arms": 2}, "4 arms": {}, "8 arms": {"arms": 8},
        "4 arms, 10,000 images": {"images": 10000},
        "4 arms, seed scatter 0": {"scatter": 0.0}, "4 arms, seed scatter 1": {"scatter": 1.0},
        "8 arms, seed scatter 1": {"arms": 8, "scatter": 1.0}, "4 arms, seed scatter 5": {"scatter": 5.0},
        "4 arms of 3, 2, 5 and 3 seeds": {"seeds": [3, 2, 5, 3]},
        "8 arms of 3 or 2 seeds": {"arms": 8, "seeds": [3, 2] * 4},
        "4 arms of 3 or 2 seeds, scatter 1": {"seeds": [3, 2, 3, 2], "scatter": 1.0},
        "4 arms, the baseline scatters 3 times as much": {"scatter": [3.0, 1.0, 1.0, 1.0]},
        "8 arms, the baseline scatters 3 times as much": {"arms": 8, "scatter": [3.0] + [1.0] * 7},
        "8 arms, one row scatters 10 times as much": {"arms": 8, "scatter": [0.3] * 7 + [3.0]},
    }  # fmt: skip
    print("Share of 1,000 tables with any verdict though nothing differs:", *RULES, sep="\n  ")
    for name, case in cases.items():
        print(f"{name:50}", *(f"{100 * share:6.1f} %" for share in false_alarms(**case).values()), flush=True)
    print(f"{'trend through 4 arms':50}", false_alarms(rules=["trend"]))
    print("Share of 200 tables in which a true effect is resolved; image scatter comes on top of measured:")
    for table, baseline in MEASURED.items():
        pair = measured(table, baseline)
        case = {"arms": 8, "images": 2000 if "background" in table else 10000, "scatter": pair / math.sqrt(2)}
        for effect in (0.5, 1.0, 2.0):
            power = false_alarms(200, effect=effect, **case)
            shares = (f"{100 * share:6.1f} %" for share in power.values())
            print(f"{f'{table}: scatter {pair:.2f}, {effect} points, 8 arms':50}", *shares, flush=True)


if __name__ == "__main__":
    main()
