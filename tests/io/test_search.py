"""Which images of a data set are scans, and what belongs to them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from examples import BROKEN, GOOD, candidates_of, make

from dmri7t.errors import InputError, NothingToTranslate
from dmri7t.io.checks import check_scan
from dmri7t.io.dataset import participant_labels
from dmri7t.io.derivatives import output_path
from dmri7t.io.kinds.registry import KINDS
from dmri7t.io.names import applicable
from dmri7t.io.search import Query


def found(root, **how):
    labels = how.pop("labels", None) or participant_labels(root)
    return {str(c.path.relative_to(root)): c for c in KINDS["raw"].find(root, Query(labels, **how))}


ENDING = "_desc-7Tlike_dwi.nii.gz"


def stems(candidates):
    return sorted(
        re.sub(r"_dwi\.nii(\.gz)?$", "", name) for name, c in candidates.items() if c.taken
    )


@pytest.mark.parametrize("name", GOOD)
def test_good_example_is_taken_and_skipped_as_its_skeleton_says(name, tmp_path):
    skeleton = make.make_dataset(name, tmp_path)
    source, candidates = candidates_of(skeleton, tmp_path)
    short = {}
    for candidate in candidates:
        try:
            check_scan(candidate.scan) if candidate.taken else None
        except NothingToTranslate as error:
            short[candidate.path] = str(error)
    taken = [c for c in candidates if c.taken and c.path not in short]
    made = {str(output_path(Path(), c.scan, "dwi")): c.path for c in taken}
    assert made == {
        f"{stem}_desc-7Tlike_dwi.nii.gz": next(tmp_path.glob(pattern))
        for stem, pattern in make.expected(skeleton).items()
    }
    for candidate in taken:
        _, link, name = candidate.scan.uri.split(":", 2)
        assert source.links[link] / name == candidate.path
        assert candidate.scan.sidecar.get("MagneticFieldStrength", skeleton.get("field")) == 3
        if "masks" in skeleton:
            stem = str(output_path(Path(), candidate.scan, "dwi")).removesuffix(ENDING)
            mask = skeleton["masks"][stem]
            assert candidate.scan.mask == (tmp_path / mask if mask else None)
    reasons = {c.path: c.reason for c in candidates if not c.taken} | short
    names = {source.relative_name(path): reason for path, reason in reasons.items()}
    skipped = {n if n.endswith("data.nii.gz") else n.rsplit("_", 1)[0]: r for n, r in names.items()}
    assert skipped.keys() == skeleton.get("skips", {}).keys()
    assert all(re.search(skeleton["skips"][stem], reason) for stem, reason in skipped.items())


@pytest.mark.parametrize("name", BROKEN)
def test_broken_example_is_refused_by_the_checks(name, tmp_path):
    skeleton = make.make_dataset(name, tmp_path)
    try:
        candidates = candidates_of(skeleton, tmp_path)[1]
    except InputError as error:
        assert re.search(skeleton["error"], str(error)) and "\n" not in str(error)
        return
    scans = [c.scan for c in candidates if c.taken]
    assert len(scans) == len(skeleton["scan"]) - skeleton.get("skipped", 0)
    errors = []
    for scan in scans:
        try:
            check_scan(scan)
        except InputError as error:
            errors.append(str(error))
    # a truncated image shows only when it is read
    assert len(errors) == skeleton.get("flaws", name != "broken/truncated")
    assert all(re.search(skeleton["error"], line) and "\n" not in line for line in errors)


@pytest.fixture
def sessions(tmp_path):
    make.make_dataset("good/sessions", tmp_path)
    return tmp_path


AP = "sub-01/ses-a/dwi/sub-01_ses-a_dir-AP_dwi.nii.gz"
MULTI = "sub-01/ses-b/dwi/sub-01_ses-b_acq-multi_run-1_dwi.nii.gz"


@pytest.mark.parametrize(
    ("filters", "taken"),
    [
        ({"direction": "PA"}, 1),
        ({"dir": ["AP", "PA"]}, 2),
        ({"acquisition": None}, 2),
        ({"acquisition": "*"}, 1),
        ({"run": 1}, 1),
        ({"run": "1"}, 1),
        ({"run": [2, 3]}, 0),
        ({"datatype": "dwi", "suffix": "dwi", "session": "a"}, 2),
    ],
)
def test_filters_mean_what_they_mean_elsewhere(sessions, filters, taken):
    assert len(stems(found(sessions, filters=filters))) == taken


def test_sessions_not_asked_for_are_skipped(sessions):
    candidates = found(sessions, sessions=["b"])
    assert candidates[MULTI].taken
    assert candidates[AP].reason == "session a was not asked for"


def test_other_suffixes_parts_and_duplicates_are_skipped(sessions):
    dwi = sessions / "sub-01/ses-a/dwi"
    for ending in ("nii.gz", "bval", "bvec"):
        source = dwi / f"sub-01_ses-a_dir-AP_dwi.{ending}"
        shutil.copy(source, dwi / f"sub-01_ses-a_part-phase_dwi.{ending}")
    shutil.copy(sessions / AP, dwi / "sub-01_ses-a_dir-AP_sbref.nii.gz")
    shutil.copy(sessions / AP, dwi / "sub-01_ses-a_dir-AP_dwi.nii")
    reasons = {name.rsplit("/", 1)[1]: c.reason for name, c in found(sessions).items()}
    assert "suffix sbref" in reasons["sub-01_ses-a_dir-AP_sbref.nii.gz"]
    assert "only magnitude" in reasons["sub-01_ses-a_part-phase_dwi.nii.gz"]
    both = [reasons[f"sub-01_ses-a_dir-AP_dwi.{ending}"] for ending in ("nii", "nii.gz")]
    assert sorted(map(bool, both)) == [False, True]
    assert "names of those of sub-01_ses-a_dir-AP_dwi" in max(both)


def test_nearest_file_wins_and_fields_are_merged(sessions):
    for place, fields in (
        ("dwi.json", {"EchoTime": 1, "A": "root"}),
        ("sub-01/sub-01_dwi.json", {"A": "subject", "B": "subject"}),
        ("sub-01/ses-a/sub-01_ses-a_dir-PA_dwi.json", {"B": "the other one's"}),
    ):
        (sessions / place).write_text(json.dumps(fields))
    scan = found(sessions)[AP].scan
    assert {k: scan.sidecar[k] for k in ("EchoTime", "A", "B")} == {
        "EchoTime": 0.08,
        "A": "subject",
        "B": "subject",
    }


def test_gradients_of_another_image_are_not_picked_up(sessions):
    # the name of the other has an entity that this one lacks: it does not apply
    plain = sessions / "sub-01/ses-a/dwi/sub-01_ses-a_dwi.nii.gz"
    shutil.copy(sessions / AP, plain)
    scan = found(sessions)[str(plain.relative_to(sessions))].scan
    with pytest.raises(InputError, match=r"sub-01_ses-a_dwi\.bval: missing"):
        check_scan(scan)


def test_only_folders_above_apply(tmp_path):
    image = tmp_path / "sub-01/ses-a/dwi/sub-01_ses-a_dwi.nii.gz"
    files = [
        tmp_path / "sub-01/ses-b/dwi/sub-01_ses-b_dwi.bval",
        tmp_path / "sub-01/ses-b/dwi/dwi.bval",
        tmp_path / "sub-01/sub-01_dwi.bval",
        tmp_path / "dwi.bval",
    ]
    assert applicable(image, files) == files[2:]


def test_other_participants_are_not_indexed(tmp_path):
    make.make_dataset("good/inherited", tmp_path)
    (tmp_path / "sub-02/dwi/sub-02_dwi.json").write_text("{")
    candidates = found(tmp_path, labels=["01"])
    assert list(candidates) == ["sub-01/dwi/sub-01_dwi.nii.gz"]


def test_one_broken_sidecar_does_not_stop_the_other(tmp_path):
    make.make_dataset("good/inherited", tmp_path)
    (tmp_path / "sub-02/dwi/sub-02_dwi.json").write_text("{")
    one, two = (c.scan for c in found(tmp_path).values())
    check_scan(one)
    with pytest.raises(InputError, match=r"sub-02_dwi\.json: not readable"):
        check_scan(two)


def test_kept_index_notices_new_files(sessions, tmp_path):
    database = tmp_path / "index"
    before = found(sessions, database=database)
    assert found(sessions, database=database).keys() == before.keys()
    (index,) = database.iterdir()
    for file in index.iterdir():
        file.write_bytes(file.read_bytes()[:100])
    # one that is damaged is made anew
    assert found(sessions, database=database).keys() == before.keys()
    target = sessions / "sub-01/ses-a/dwi/sub-01_ses-a_acq-new_dwi.nii.gz"
    shutil.copy(sessions / AP, target)
    assert str(target.relative_to(sessions)) in found(sessions, database=database)


def test_name_that_contradicts_its_folder_is_refused(tmp_path):
    make.make_dataset("good/single", tmp_path)
    for file in (tmp_path / "sub-01/dwi").iterdir():
        file.rename(file.with_name(file.name.replace("sub-01", "sub-07")))
    (candidate,) = found(tmp_path).values()
    assert candidate.scan.entities["sub"] == "01"
    with pytest.raises(InputError, match="its name says otherwise"):
        check_scan(candidate.scan)


def test_missing_content_of_a_link_is_refused(tmp_path):
    make.make_dataset("good/single", tmp_path)
    image = tmp_path / "sub-01/dwi/sub-01_dwi.nii.gz"
    image.unlink()
    image.symlink_to(tmp_path / ".git/annex/objects/nothing")
    (candidate,) = found(tmp_path).values()
    with pytest.raises(InputError, match="datalad get"):
        check_scan(candidate.scan)


def test_repeated_directions_count_once(tmp_path):
    make.make_dataset("good/single", tmp_path)
    bvec = tmp_path / "sub-01/dwi/sub-01_dwi.bvec"
    table = np.loadtxt(bvec)
    table[:, 7:] = -table[:, 2:3]
    np.savetxt(bvec, table)
    (candidate,) = found(tmp_path).values()
    with pytest.raises(InputError, match="5 different directions"):
        check_scan(candidate.scan)


def test_names_that_are_no_utf_8_disturb_nothing(tmp_path):
    make.make_dataset("good/single", tmp_path)
    before = found(tmp_path).keys()
    for folder in (tmp_path, tmp_path / "sub-01/dwi"):
        (folder / "notes \udcff.txt").touch()
        (folder / "sub-01_dwi\udcff.json").write_text("{}")
    assert found(tmp_path).keys() == before
    assert found(tmp_path, database=tmp_path / "index").keys() == before
