"""Brain masks that lie beside scans, or that the user names."""

from __future__ import annotations

from pathlib import Path

import pytest
from examples import candidates_of, make

from dmri7t.cli.app import main
from dmri7t.errors import InputError
from dmri7t.io.checks import check_scan
from dmri7t.io.masks import mask_beside, mask_named
from dmri7t.io.scan import Scan

SCAN = "sub-1_ses-a_run-1_desc-preproc_dwi.nii.gz"


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["sub-1_ses-a_desc-brain_mask.nii.gz"], 0),
        (["sub-1_ses-a_desc-preproc_space-dwi_brainmask.nii.gz"], 0),
        (["sub-1_desc-brain_mask.nii", "sub-1_ses-a_run-1_desc-brain_mask.nii.gz"], 1),
        (["sub-1_ses-a_run-1_desc-dwiBrain_mask.nii.gz"], 0),
        # another run, another space, another object, and no image
        (["sub-1_ses-a_run-2_desc-brain_mask.nii.gz"], None),
        (["sub-1_ses-a_space-T1w_desc-brain_mask.nii.gz"], None),
        (["sub-1_ses-a_desc-lesion_mask.nii.gz", "sub-1_ses-a_mask.nii.gz"], None),
        (["sub-1_ses-a_desc-brain_mask.nii.json"], None),
    ],
)
def test_the_mask_of_a_scan_is_known_by_its_name(tmp_path, names, taken):
    for name in names:
        (tmp_path / name).touch()
    expected = None if taken is None else tmp_path / names[taken]
    assert mask_beside(tmp_path / SCAN) == expected


@pytest.fixture
def scan() -> Scan:
    entities = {"sub": "1", "ses": "a", "acq": "x"}
    return Scan(Path("d.nii"), Path("b"), Path("v"), {}, entities, "bids::d.nii")


def test_a_pattern_takes_both_names_of_entities(tmp_path, scan):
    (tmp_path / "1_a_x.nii").touch()
    for pattern in ("{sub}_{ses}_{acq}.nii", "{subject}_{session}_{acquisition}.nii", "1_*.nii"):
        assert mask_named(f"{tmp_path}/{pattern}", scan) == tmp_path / "1_a_x.nii"


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{run}.nii", "its name has no run, which --brain-mask asks for; it has sub, ses"),
        ("{}.nii", "its name has no entity without a name"),
        ("{sub.nii", "not a pattern"),
        ("{sub}_b.nii", r"1_b\.nii: no such file"),
        ("{sub}_*.nii", r"1_\*\.nii: 2 files match, such as .*1_1\.nii"),
    ],
)
def test_a_pattern_that_does_not_name_one_mask_is_refused(tmp_path, scan, pattern, words):
    for name in ("1_1.nii", "1_2.nii"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=words):
        mask_named(f"{tmp_path}/{pattern}", scan)


def test_masks_beside_scans_can_be_left_out(tmp_path):
    skeleton = {**make.make_dataset("good/brain_masks", tmp_path)}
    skeleton["arguments"] = ["--brain-mask", "none"]
    scans = [c.scan for c in candidates_of(skeleton, tmp_path)[1] if c.taken]
    assert [scan.mask for scan in scans] == [None] * 3


def test_a_mask_on_another_grid_is_refused(tmp_path):
    skeleton = make.make_dataset("good/single", tmp_path)
    make.write_scan(tmp_path, {"name": "other/x_dwi", "shape": [20, 20, 20], "mask": "m.nii"}, 0)
    skeleton = {**skeleton, "arguments": ["--brain-mask", "{root}/m.nii"]}
    (scan,) = (c.scan for c in candidates_of(skeleton, tmp_path)[1] if c.taken)
    with pytest.raises(InputError, match=r"m\.nii: 20 x 20 x 20 voxels, but sub-01_dwi"):
        check_scan(scan)


def test_the_command_names_the_mask_of_each_scan(tmp_path, tiny_model, capsys):
    skeleton = make.make_dataset("good/brain_mask_elsewhere", tmp_path / "in")
    words = [str(tmp_path / "in"), str(tmp_path / "out"), "participant", "--dry-run"]
    extra = make.arguments(skeleton, tmp_path / "in")
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--model", str(tiny_model), "--device", "cpu", *extra])
    said = capsys.readouterr().out
    assert stopped.value.code == 0, said
    for label, name in (("01", "anyname"), ("02", "b")):
        mask = f"derivatives/masks/sub-{label}/{name}_mask.nii.gz"
        assert (
            f"sub-{label}_dwi.nii.gz: a diffusion series with gradients that fit, brain mask {mask}"
            in said
        )
