import pytest
import torch

from partwhole.recipes.schema import Training
from partwhole.training.schedules import learning_rate, table

CCROP = Training(lr=0.5, final_lr=0.05, epochs=500, step="epoch")


@pytest.mark.parametrize(
    ("epoch", "value"), [(1, 0.5), (101, 0.457), (251, 0.275), (401, 0.0930), (500, 0.0500)]
)
def test_contrastive_crops_epochs_have_their_learning_rates(epoch, value):
    """Epochs count from 1, as in the official schedule; 97 steps each; constant within an epoch."""
    steps = [learning_rate(CCROP, (epoch - 1) * 97 + step, 97) for step in (0, 50, 96)]
    assert steps[0] == pytest.approx(value, abs=6e-5)
    assert len(set(steps)) == 1


def test_cosine_equals_torchs_annealing():
    training = Training(lr=0.3, final_lr=0.02, epochs=4)
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 4 * 5, eta_min=0.02)
    for step in range(20):
        assert learning_rate(training, step, 5) == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimiser.step()
        theirs.step()


@pytest.mark.parametrize("moves", ["epoch", "iteration"])
def test_warmup_climbs_every_iteration_and_meets_the_cosine(moves):
    training = Training(lr=1.0, warmup_lr=0.1, warmup_epochs=2, epochs=10, step=moves)
    values = [learning_rate(training, step, 10) for step in range(100)]
    assert values[:20] == pytest.approx([0.1 + 0.9 * step / 20 for step in range(20)])
    assert values[20] == 1.0
    distinct = len(set(values[20:]))
    assert distinct == (8 if moves == "epoch" else 80)
    assert values[60] == pytest.approx(0.5)  # half of the epochs after the warm-up
    assert values[20:] == sorted(values[20:], reverse=True)


def test_fractional_and_overlong_warmups_stay_between_their_ends():
    half = Training(lr=1.0, warmup_epochs=0.5, epochs=2)
    assert [learning_rate(half, step, 4) for step in range(3)] == pytest.approx([0, 0.5, 1])
    long = Training(lr=1.0, warmup_epochs=5, epochs=2)
    assert learning_rate(long, 7, 4) == pytest.approx(7 / 20)


def test_table_holds_every_steps_rate_in_float32():
    training = Training(lr=0.5, epochs=3, warmup_epochs=1, warmup_lr=0.05)
    rates = table(training, 7)
    assert rates.shape == (21,) and rates.dtype == torch.float32
    torch.testing.assert_close(rates, torch.tensor([learning_rate(training, step, 7) for step in range(21)]))
    assert len(rates.unique()) > 15
