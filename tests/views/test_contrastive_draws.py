"""Where in its box a crop's centre falls: Beta and Gaussian against scipy and closed forms."""

import pytest
import torch
from scipy import special, stats

from partwhole.views.contrastive_crop import Beta, ContrastiveCrop, Gaussian
from support.contrastive_crops import ALMOST_ONE, pairs

ALPHAS = [0.1, 0.3, 0.6, 0.8, 1.0, 1.5, 2.0]
GRID = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000  # quadrature in place of random numbers


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_inverse_table_equals_scipys(alpha):
    theirs = torch.from_numpy(stats.beta.ppf(GRID.numpy(), alpha, alpha))
    torch.testing.assert_close(Beta(alpha)(GRID), theirs, rtol=0, atol=5e-6 if alpha > 1.5 else 2e-7)


@pytest.mark.parametrize("alpha", [2.5, 4.0, 10.0, 50.0])
def test_a_large_alpha_is_exact_up_to_the_outermost_number_that_is_ever_drawn(alpha):
    ends = torch.cat(
        [2.0 ** -torch.arange(2, 25, dtype=torch.float64), torch.rand(2000, dtype=torch.float64) / 4096]
    )
    u = torch.cat([GRID, ends, 1 - ends])
    theirs = torch.from_numpy(stats.beta.ppf(u.numpy(), alpha, alpha))
    torch.testing.assert_close(Beta(alpha)(u), theirs, rtol=0, atol=2e-5)
    assert Beta(alpha)(GRID).var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=1e-3)


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.2, 0.5, 1.0])
def test_the_gaussian_equals_scipys_cut_off_at_both_ends(sigma):
    theirs = stats.truncnorm(-0.5 / sigma, 0.5 / sigma, loc=0.5, scale=sigma).ppf(GRID.numpy())
    torch.testing.assert_close(Gaussian(sigma)(GRID), torch.from_numpy(theirs), rtol=0, atol=1e-10)


@pytest.mark.parametrize("draw", [*map(Beta, ALPHAS), *map(Gaussian, (0.1, 0.5))])
def test_numbers_rise_with_u_stay_in_range_and_mirror(draw):
    u = torch.cat([torch.zeros(1), GRID, torch.tensor([ALMOST_ONE])])
    x = draw(u)
    assert (x.diff() >= 0).all() and x.min() >= 0 and x.max() <= 1 and x[0] < 1e-15
    torch.testing.assert_close(draw(1 - GRID), 1 - draw(GRID), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("alpha", "variance", "distance", "middle", "edge"),
    [(0.1, 0.20833, 0.48893, 0.0961, 0.3203), (0.3, 0.15625, 0.44585, 0.2343, 0.1396), (0.6, 0.11364, 0.38778, 0.3739, 0.0436),
     (1.0, 0.08333, 1 / 3, 0.5, 0.01), (1.5, 0.0625, 0.28820, 0.6090, 0.0017), (2.0, 0.05, 0.25714, 0.6875, 0.0003)],
)  # fmt: skip
def test_moments_equal_their_closed_forms(alpha, variance, distance, middle, edge):
    x, count = Beta(alpha)(GRID), len(GRID)
    # Mean |u - v|: x is in order.
    apart = 2 / count**2 * ((2 * torch.arange(1, count + 1) - count - 1) * x).sum().item()
    assert x.mean().item() == pytest.approx(0.5, abs=1e-7)
    assert (
        x.var().item()
        == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=1e-5)
        == pytest.approx(variance, abs=1e-5)
    )
    closed = 2 / alpha * special.beta(2 * alpha, 2 * alpha) / special.beta(alpha, alpha) ** 2
    assert apart == pytest.approx(closed, abs=1e-5) == pytest.approx(distance, abs=1e-5)
    assert ((x > 0.25) & (x < 0.75)).double().mean().item() == pytest.approx(middle, abs=6e-5)
    assert (x < 0.01).double().mean().item() == pytest.approx(edge, abs=6e-5)


@pytest.mark.parametrize(("alpha", "expected"), [(0.1, 0.6129), (0.6, 0.6392), (1.0, 0.6533)])
def test_the_overlap_along_one_side_equals_its_closed_form(alpha, expected):
    side, share = 10_000, 0.74  # so many pixels that rounding is nothing
    sampler = ContrastiveCrop(scale=(share**2, share**2), ratio=(1, 1), alpha=alpha)
    one, other = pairs(sampler, side=side)
    # Share of the side is at least 1/2: always some.
    along = share - (one[0] - other[0]).abs().double().mean().item() / side
    assert (one[2] == share * side).all() and abs(along - expected) < 1.5e-3


def test_nine_places_of_which_the_last_is_never_taken():
    places = (9 * Beta(0.1)(GRID).clamp(max=ALMOST_ONE)).floor().long().bincount(minlength=10) / len(GRID)
    assert places[9] == 0 and abs(places[0] - 0.41) < 5e-3 and abs(places[8] - 0.41) < 5e-3
