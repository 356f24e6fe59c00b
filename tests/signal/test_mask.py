"""The brain mask on phantoms with the flaws of real scans."""

import numpy as np
import pytest

from dmri7t.errors import InputError
from dmri7t.signal.mask import brain_mask


def head(voxel=2.5, scale=1.0, profile=0.0, seed=0):
    """A brain of 140 x 170 x 120 mm, a dim skull around it and a bright eye beside it."""
    rng = np.random.default_rng(seed)
    extent = np.array([190, 230, 170]) * scale
    shape = (extent / voxel).astype(int)
    mm = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1) * voxel
    mm = mm - extent / 2
    radius = np.sqrt((mm**2 / (np.array([70, 85, 60]) * scale) ** 2).sum(-1))
    brain = radius < 1
    eye = ((mm - np.array([32, 98, -30]) * scale) ** 2).sum(-1) < (12 * scale) ** 2
    image = 800.0 * brain + 150 * ((radius > 1.12) & (radius < 1.2)) + 1500 * (eye & ~brain)
    image = image * (1 + profile * (radius**2 - 1).clip(-1, 0.2))
    return np.hypot(image + rng.normal(0, 25, shape), rng.normal(0, 25, shape)), brain, eye & ~brain


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("voxel", [1.5, 3.0])
def test_finds_the_brain(voxel):
    image, brain, eye = head(voxel)
    mask = brain_mask(image, [voxel] * 3)
    assert mask.shape == image.shape and mask.dtype == bool
    assert dice(mask, brain) > 0.95
    assert mask[eye].mean() < 0.2


def test_bone_and_the_rim_of_the_scalp_are_taken_off(monkeypatch):
    voxel = 2.5
    image, brain, _ = head(voxel)
    shape = image.shape
    mm = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1) * voxel
    mm = mm - np.array([190, 230, 170]) / 2
    radius = np.sqrt((mm**2 / np.array([70, 85, 60]) ** 2).sum(-1))
    # bone of 2 mm, and a scalp that is half as bright as the brain close behind it
    scalp = (radius > 1.03) & (radius < 1.12)
    image[(radius > 1) & ~scalp] = np.minimum(image[(radius > 1) & ~scalp], 60)
    image[scalp] = 400
    # a dark lesion that brain encloses
    lesion = ((mm - np.array([0, 79, 0])) ** 2).sum(-1) < 3**2
    image[lesion] = 100
    mask = brain_mask(image, [voxel] * 3)
    assert dice(mask, brain) > 0.97 and mask[lesion].all()
    assert mask[scalp].mean() < 0.02
    monkeypatch.setattr("dmri7t.signal.mask._peel", lambda mask, *rest: mask)
    before = brain_mask(image, [voxel] * 3)
    assert before[scalp].mean() > 0.2


def test_dark_centre_is_kept():
    image, brain, _ = head(3.0, profile=0.7)
    mask = brain_mask(image, [3.0] * 3)
    centre = tuple(slice(n // 2 - 8, n // 2 + 8) for n in mask.shape)
    assert mask[centre].all()
    assert mask[brain].mean() > 0.94


def test_brain_cut_off_by_the_field_of_view():
    image, brain, _ = head(3.0)
    cut = image.shape[2] // 3
    mask = brain_mask(image[:, :, cut:], [3.0] * 3)
    assert mask[:, :, 0].sum() > 0.9 * brain[:, :, cut].sum()


def test_anisotropic_voxels_and_small_heads():
    image, brain, _ = head(1.5)
    mask = brain_mask(image[:, :, ::3], [1.5, 1.5, 4.5])
    assert dice(mask, brain[:, :, ::3]) > 0.94
    small, brain, _ = head(2.0, scale=0.4)
    assert dice(brain_mask(small, [2.0] * 3), brain) > 0.9


def test_not_a_number_does_no_harm():
    image, brain, _ = head(3.0)
    image[30, 30, 20] = np.nan
    assert dice(brain_mask(image, [3.0] * 3), brain) > 0.95


def test_empty_image_is_refused():
    with pytest.raises(InputError, match="the b0 is zero or no number"):
        brain_mask(np.zeros((20, 20, 20)), [2, 2, 2])
