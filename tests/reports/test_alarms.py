"""What is unusual about a scan is told once, with its place and a picture there."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from attrs import evolve
from PIL import Image
from reports.reading import read_page
from safetensors.numpy import save_file

from dmri7t.reports import MapFile, write_report
from dmri7t.reports.alarms import alarm_picture, find_alarms
from dmri7t.reports.quality import NoveltyScore, Spot
from dmri7t.reports.views import View

CENTRE = np.array([4.0, -7.0, 11.0])
"""Of the phantom."""


@pytest.fixture
def strange(make_scan_report, phantom_side, tmp_path):
    """Make a scan with a spot of so many ml, 12 mm to the right of the middle."""

    def make(volume_ml: float, kind: str = "oblique"):
        scan, side = make_scan_report(kind=kind), phantom_side("in", 2.5, kind)
        place = np.array([12.0, 0.0, 0.0])
        near = np.linalg.norm(side.places_V3 - place, axis=1) < 6
        values = np.where(near, 1.6, 0.4).astype(np.float32)
        save_file({"map": values}, tmp_path / "novelty.safetensors")
        spots = (Spot(volume_ml, 1.6, tuple(CENTRE + place)),)
        novelty = NoveltyScore(1.6, volume_ml, volume_ml >= 0.5, "low diffusivity", 0.5, spots)
        shells = (evolve(scan.quality.shells[0], novelty=novelty), scan.quality.shells[1])
        told = f"b1000: {volume_ml:.1f} ml of the brain are not like the training data."
        outside = (told,) if novelty.flagged else ()
        quality = evolve(scan.quality, shells=shells, outside_training=outside)
        file = MapFile(tmp_path / "novelty.safetensors", "map")
        return evolve(scan, quality=quality, before=evolve(scan.before, novelty=(file,)))

    return make


def test_spot_is_told_with_its_place(participant, strange, tmp_path):
    scan = strange(7.25)
    files = write_report(evolve(participant, scans=(scan,)), tmp_path / "out")
    text, reader = read_page(files[0])
    assert "Look here first: unlike the training data." in text
    assert text.count("7.2 ml around R 16, P 7, S 11 mm") == 1
    assert "It looks most like low diffusivity." in text
    assert "b1000: 7.2 ml of the brain" not in text  # the alarm says it, and where
    assert "sub-01/figures/sub-01_alarm_1.jpg" in reader.targets
    x, y, z = map(int, text[text.index("(voxel ") + 7 :].split(" of")[0].split(", "))
    affine = nibabel.load(scan.before.mask).affine
    assert np.abs(affine[:3, :3] @ [x, y, z] + affine[:3, 3] - CENTRE - [12, 0, 0]).max() < 2.5


def test_small_spot_is_a_note(participant, strange, tmp_path):
    files = write_report(evolve(participant, scans=(strange(0.3),)), tmp_path / "out")
    text, reader = read_page(files[0])
    assert "Nothing unusual was found." in text
    assert "0.3 ml around R 16, P 7, S 11 mm" in text and "raise no alarm" in text
    assert 'class="box warning' not in files[0].read_text()
    assert "sub-01/figures/sub-01_alarm_1.jpg" in reader.targets


@pytest.mark.parametrize("kind", ["LPS", "oblique"])
def test_picture_shows_the_place(strange, kind):
    scan = strange(7.25, kind)
    view = View.open(scan.before.mask)
    (alarm,) = find_alarms(scan, view)
    picture = np.asarray(alarm_picture(alarm, scan.before, view)).astype(int)
    yellow = (picture[..., 0] > 200) & (picture[..., 2] < 60)
    assert yellow.sum() > 300  # outlines and crosses
    left = picture[:, : picture.shape[1] // 3]
    rows, columns = np.nonzero((left[..., 0] > 200) & (left[..., 2] < 60))
    # right of the patient is left of the middle of an axial slice
    assert columns.mean() < 0.45 * left.shape[1] and len(rows)


def test_brain_that_the_image_cuts(participant, make_scan_report, phantom_side, tmp_path):
    scan, side = make_scan_report(), phantom_side("in", 2.5)
    image = nibabel.load(side.mask)
    mask, affine = np.asarray(image.dataobj), image.affine
    # the phantom's lower third was not measured
    cut = mask.shape[2] // 3
    low = affine.copy()
    low[:3, 3] += affine[:3, 2] * cut
    nibabel.save(nibabel.Nifti1Image(mask[..., cut:], low), tmp_path / "mask.nii")
    view = View.open(tmp_path / "mask.nii")
    sentence = "a part of the brain was not measured: its mask, 9 ml, ends at the border."
    quality = evolve(scan.quality, outside_training=(sentence,))
    (alarm,) = find_alarms(evolve(scan, quality=quality), view)
    assert alarm.title == "The brain is cut at the bottom"
    assert alarm.place_3[2] == pytest.approx(low[2, 3], abs=1e-3)
    b0 = np.asarray(nibabel.load(side.b0).dataobj)[..., cut:]
    nibabel.save(nibabel.Nifti1Image(b0, low), tmp_path / "b0.nii")
    maps = evolve(scan.before, mask=tmp_path / "mask.nii", b0=MapFile(tmp_path / "b0.nii"))
    assert isinstance(alarm_picture(alarm, maps, view), Image.Image)
