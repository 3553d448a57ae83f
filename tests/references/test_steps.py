"""Three training steps of every base, objective and sampler leave what they left in the reference.

The reference (`steps.json`) was made by the code of commit b7985e3. For a comparison bit by bit of two source
trees on one machine: `python tests/references/compare.py OLD_SRC NEW_SRC`.
"""

import json
from pathlib import Path

import pytest

from references.steps import CONFIGURATIONS, PARTS, summary

REFERENCE = json.loads(Path(__file__).with_name("steps.json").read_text(encoding="utf-8"))["configurations"]
# Kernels for AVX2 in place of AVX-512 move losses and tensors by up to 3e-6 and gradients by 3e-5; kernels
# for neither move tensors by 8e-6 and gradients by 3e-4, since the third step's have the rounding of two
# steps behind them. An error in the gradients of the first two steps shows in the parameters too.
RELATIVE = {"terms": 1e-5, "gradients": 5e-4, "parameters": 1e-5, "targets": 1e-5, "buffers": 1e-5}
FLOOR = 1e-6  # of a figure that is zero but for rounding: the gradient of a bias that a BatchNorm takes away


def differs(part: str, figure: float, reference: float, scale: float = 0.0) -> bool:
    """Whether two figures differ by more than rounding, or one is not a number.

    scale: the size of what was added up to the figure, which may itself be near zero.
    """
    return not abs(figure - reference) <= RELATIVE[part] * max(abs(reference), scale) + FLOOR


def differing_terms(terms: list[dict], reference: list[dict]) -> list[str]:
    """Loss terms that are not the reference's, in words; terms that the reference lacks are welcome."""
    return [
        f"step {step + 1}, {name}: {terms[step].get(name)} instead of {value}"
        for step, values in enumerate(reference)
        for name, value in values.items()
        if name not in terms[step] or differs("terms", terms[step][name], value)
    ]


def differing_tensors(part: str, figures: dict, reference: dict) -> list[str]:
    """Shapes whose figures are not the reference's, in words; shapes that the reference lacks are welcome."""
    lines = []
    for shape, (count, *values) in reference.items():
        if shape not in figures or figures[shape][0] != count:
            lines.append(f"{part}, {shape}: {figures.get(shape, [0])[0]} tensors instead of {count}")
        else:
            lines += [
                f"{part}, {shape}: {name} {figure} instead of {value}"
                for name, figure, value in zip(("scaled sum", "norm", "product"), figures[shape][1:], values)
                if differs(part, figure, value, values[1])
            ]
    return lines


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_three_steps_give_the_reference(name):
    figures, reference = summary(CONFIGURATIONS[name]), REFERENCE[name]
    lines = differing_terms(figures["terms"], reference["terms"])
    for part in PARTS[1:]:
        lines += differing_tensors(part, figures[part], reference[part])
    assert not lines, "\n".join(
        [f"{name}: {len(lines)} figures differ from tests/references/steps.json", *lines]
    )


def test_the_reference_holds_every_configuration_and_no_other():
    assert list(REFERENCE) == list(CONFIGURATIONS)
