"""What a scan says of its estimates: shares and errors against known truths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import fibonacci_directions

from dmri7t.signal.finer import NOT_SHOWN, Coarsened, weigh_finer, weigh_rish
from dmri7t.signal.gate import FEWEST, middle_block, weigh
from dmri7t.signal.grids import Grid
from dmri7t.signal.harmonics import fit, plan_fit, synthesize
from dmri7t.signal.held_out import middle_part, middle_slab, part_directions
from dmri7t.signal.regrid import Regrid
from dmri7t.signal.rish import rish
from dmri7t.signal.shell import Brain, ShellSignal

SHAPE = (12, 12, 12)
N_VOXELS = 12**3
SIGMA = 0.1


def truth(seed: int = 0) -> torch.Tensor:
    """Coefficients (15, V) of order 4: a mean signal, and less in higher orders."""
    generator = torch.Generator().manual_seed(seed)
    sh_CV = torch.randn(15, N_VOXELS, generator=generator)
    sh_CV[0] += 8
    sh_CV[1:6] *= 0.4
    sh_CV[6:] *= 0.15
    return sh_CV


def scan_of(sh_CV: torch.Tensor, n: int = 40, sigma: float = SIGMA) -> ShellSignal:
    directions_N3 = fibonacci_directions(n)
    generator = torch.Generator().manual_seed(7)
    clean_NV = synthesize(sh_CV, directions_N3)
    brain = Brain(np.ones(SHAPE, bool), Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0])))
    return ShellSignal(
        signal_NV=clean_NV + sigma * torch.randn(clean_NV.shape, generator=generator),
        b0_V=torch.full((N_VOXELS,), 3.0),
        directions_N3=directions_N3,
        bval=1000.0,
        n_b0=1,
        brain=brain,
    )


def plain(measured: ShellSignal) -> torch.Tensor:
    return fit(measured.signal_NV, plan_fit(measured.directions_N3, 4, 0.0))


def errors(evidence) -> dict[str, float]:
    return {error.name: error.ratio for error in evidence.errors}


def test_the_truth_is_taken_whole_and_leaves_no_error():
    sh_CV = truth()
    evidence = weigh(scan_of(sh_CV), lambda m: [plain(m), sh_CV], ["perfect"], SIGMA)
    assert evidence.shares == pytest.approx(np.ones((1, 3)), abs=0.03)
    assert errors(evidence)["perfect"] == pytest.approx(0, abs=0.05)
    assert errors(evidence)["result"] == pytest.approx(0, abs=0.05)


def test_nonsense_is_not_taken_and_changes_nothing():
    other_CV = truth(seed=3)
    # added to the fit: in its place it would shrink the fit's noise, which is no nonsense
    evidence = weigh(
        scan_of(truth()), lambda m: [plain(m), plain(m) + other_CV], ["nonsense"], SIGMA
    )
    assert np.max(evidence.shares) < 0.02
    assert errors(evidence)["nonsense"] > 10
    assert errors(evidence)["result"] == pytest.approx(1, abs=0.02)


def test_what_neither_helps_nor_harms_is_a_tie_and_goes_to_interpolation():
    evidence = weigh(scan_of(truth()), lambda m: [plain(m), plain(m)], ["same"], SIGMA)
    assert evidence.shares == ((0.0, 0.0, 0.0),)
    assert errors(evidence) == {"same": 1.0, "result": 1.0}


def test_the_best_part_is_found_order_by_order():
    sh_CV = truth()
    # twice too far in order 2, the wrong way in order 4, right in order 0
    step = {0: 1.0, 2: 2.0, 4: -1.0}

    def estimates(measured):
        fitted_CV, made = plain(measured), []
        for order, rows in {0: slice(0, 1), 2: slice(1, 6), 4: slice(6, 15)}.items():
            made.append(fitted_CV[rows] + step[order] * (sh_CV - fitted_CV)[rows])
        return [fitted_CV, torch.cat(made)]

    evidence = weigh(scan_of(sh_CV), estimates, ["mixed"], SIGMA)
    assert evidence.shares[0] == pytest.approx((1.0, 0.5, 0.0), abs=0.08)


def test_a_refinement_of_what_is_not_taken_is_not_taken():
    sh_CV = truth()
    evidence = weigh(
        scan_of(sh_CV), lambda m: [plain(m), truth(seed=3), sh_CV], ["bad", "good"], SIGMA
    )
    # the second one takes back what the first did: both together, or neither
    bad, good = np.array(evidence.shares)
    assert np.all((bad > 0) | (good == 0))


def test_an_order_that_the_rest_does_not_carry_follows_the_next_lower_one():
    # 16 directions carry order 4, the 12 that are left carry order 2
    sh_CV = truth()[:6]
    evidence = weigh(
        scan_of(sh_CV, n=16),
        lambda m: [fit(m.signal_NV, plan_fit(m.directions_N3, 2)), sh_CV],
        ["perfect"],
        SIGMA,
    )
    assert len(evidence.shares[0]) == 3
    assert evidence.shares[0][2] == evidence.shares[0][1] > 0.9


def test_another_estimate_is_compared_in_a_block():
    sh_CV = truth()
    measured = scan_of(sh_CV)

    def perfect(part: ShellSignal) -> torch.Tensor:
        # the block is the whole: all of it lies in the middle
        assert part.brain.n_voxels == N_VOXELS
        return sh_CV

    evidence = weigh(
        measured, lambda m: [plain(m), plain(m)], ["same"], SIGMA, ("perfect", perfect)
    )
    beside = {error.name: error.ratio for error in evidence.beside}
    assert beside["perfect"] == pytest.approx(0, abs=0.1)
    assert beside["result"] == 1.0


def test_too_few_directions_are_refused():
    with pytest.raises(ValueError, match=f"{FEWEST} are needed"):
        weigh(scan_of(truth()[:6], n=11), lambda m: [], [], SIGMA)


def test_every_direction_is_in_one_set_and_sets_are_spread():
    directions_N3 = fibonacci_directions(30)
    sets = part_directions(directions_N3)
    assert sorted(i for part in sets for i in part) == list(range(30))
    assert {len(part) for part in sets} <= {7, 8}
    for part in sets:
        # no set lies on one side: the mean of the outer products is nearly a third each way
        spread = directions_N3[part].T @ directions_N3[part] / len(part)
        assert np.linalg.eigvalsh(spread).min() > 0.2


def test_large_brains_give_their_middle():
    measured = scan_of(truth())
    slab = middle_slab(measured, most=3 * 144)
    assert slab.brain.mask.shape[:2] == SHAPE[:2]
    assert 3 <= slab.brain.mask.shape[2] <= 4
    assert middle_slab(measured, most=N_VOXELS) is measured
    assert middle_block(measured, edge=6).brain.mask.shape == (6, 6, 6)


def smoothed(sh_CV: torch.Tensor) -> torch.Tensor:
    """A truth that k-space holds: what is finer than three voxels is gone."""
    volume = sh_CV.reshape(-1, *SHAPE)
    spectrum = torch.fft.fftn(volume, dim=(1, 2, 3))
    kept = [torch.fft.fftfreq(n).abs() < 0.26 for n in SHAPE]
    window = kept[0][:, None, None] & kept[1][None, :, None] & kept[2][None, None]
    return torch.fft.ifftn(spectrum * window, dim=(1, 2, 3)).real.reshape(len(sh_CV), -1)


def test_sharpening_that_is_right_is_taken_whole():
    """The coarser scan brought back, and in its place the truth: nothing is left to gain."""
    sh_CV = smoothed(truth())

    def estimates(coarse: ShellSignal, brain: Brain) -> list[torch.Tensor]:
        assert coarse.brain.n_voxels < 0.7 * brain.n_voxels
        blurred_CV = Regrid(coarse.brain, brain)(plain(coarse))
        return [blurred_CV, blurred_CV, sh_CV]

    evidence = weigh_finer(Coarsened.of(scan_of(sh_CV), 1.3), estimates, SIGMA)
    # what remains is the noise of the directions that the coarser scan was made of
    assert min(evidence.shares[0]) > 0.95 and evidence.factor == 1.3
    ratios = {error.name: error.ratio for error in evidence.coarser}
    assert abs(ratios["model"]) < 0.15 and abs(ratios["result"]) < 0.15
    assert ratios["filter"] == 1 and not evidence.errors


def test_sharpening_half_the_way_too_far_is_taken_in_part():
    sh_CV = smoothed(truth())

    def estimates(coarse: ShellSignal, brain: Brain) -> list[torch.Tensor]:
        blurred_CV = Regrid(coarse.brain, brain)(plain(coarse))
        return [blurred_CV, blurred_CV, blurred_CV + 2 * (sh_CV - blurred_CV)]

    evidence = weigh_finer(Coarsened.of(scan_of(sh_CV), 1.3), estimates, SIGMA)
    assert evidence.shares[0] == pytest.approx((0.5, 0.5, 0.5), abs=0.06)
    ratios = {error.name: error.ratio for error in evidence.coarser}
    assert ratios["result"] < 0.1 and ratios["model"] > 0.9


def test_sharpening_that_is_none_is_not_taken():
    sh_CV = smoothed(truth())
    generator = torch.Generator().manual_seed(5)

    def estimates(coarse: ShellSignal, brain: Brain) -> list[torch.Tensor]:
        blurred_CV = Regrid(coarse.brain, brain)(plain(coarse))
        invented_CV = 0.3 * torch.randn(blurred_CV.shape, generator=generator)
        return [blurred_CV, blurred_CV, blurred_CV + invented_CV]

    evidence = weigh_finer(Coarsened.of(scan_of(sh_CV), 1.3), estimates, SIGMA)
    assert max(evidence.shares[0]) < 0.03
    ratios = {error.name: error.ratio for error in evidence.coarser}
    assert ratios["result"] == pytest.approx(1, abs=0.01)


def rish_truth(sh_CV: torch.Tensor) -> torch.Tensor:
    return rish(sh_CV / 3.0)


@pytest.mark.parametrize(("way", "share"), [(1.0, 1.0), (2.0, 0.5), (-1.0, 0.0)])
def test_rish_of_a_half_say_how_far_a_model_is_right(way, share):
    """The model goes from 0.7 of the true RISH to them, past them as far again, or away."""
    true_3V = rish_truth(smoothed(truth()))

    def estimates(coarse: ShellSignal, brain: Brain) -> tuple[torch.Tensor, torch.Tensor]:
        assert len(coarse.directions_N3) == 20
        return 0.7 * true_3V, (0.7 + 0.3 * way) * true_3V

    scan = scan_of(smoothed(truth()))
    assert weigh_rish(Coarsened.of(scan, 1.3), estimates, SIGMA) == pytest.approx(
        (share,) * 3, abs=0.1
    )


def test_rish_that_the_model_does_not_change_for_the_better_are_the_scans_own():
    true_3V = rish_truth(smoothed(truth()))
    generator = torch.Generator().manual_seed(2)

    def estimates(coarse: ShellSignal, brain: Brain) -> tuple[torch.Tensor, torch.Tensor]:
        return true_3V, true_3V * (1 + 0.2 * torch.randn(true_3V.shape, generator=generator))

    shares = weigh_rish(Coarsened.of(scan_of(smoothed(truth())), 1.0), estimates, SIGMA)
    assert max(shares) < 0.05


def test_middle_of_a_large_brain_is_alike_in_all_directions():
    scan = scan_of(truth())
    part = middle_part(scan, 250)
    assert part.brain.mask.shape == (6, 6, 6) and part.signal_NV.shape == (40, 216)
    volume = scan.brain.place(scan.signal_NV)[:, 3:9, 3:9, 3:9]
    assert torch.equal(part.brain.place(part.signal_NV), volume)
    assert middle_part(scan, N_VOXELS) is scan


def test_few_directions_have_no_halves():
    assert weigh_rish(Coarsened.of(scan_of(truth(), 13), 1.0), None, SIGMA) == ()


def test_an_order_that_no_half_shows_is_the_models():
    """Halves of ten directions have no order 4."""
    true_3V = rish_truth(smoothed(truth()))
    scan = scan_of(smoothed(truth()), 20)
    shares = weigh_rish(Coarsened.of(scan, 1.0), lambda *_: (true_3V, 0.5 * true_3V), SIGMA)
    assert shares[:2] == pytest.approx((0.0, 0.0), abs=0.02) and shares[2] == NOT_SHOWN
