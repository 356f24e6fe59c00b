"""What laboratories bring besides one scan: parts of a scan, masks of their own, other folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator

import nibabel
import numpy as np
from examples import make

from trials.case import Case, Ending, Step, says
from trials.edits import changed, sidecar
from trials.judge import Ends, fails, refused, right
from trials.oracles import all_finite, like
from trials.place import SCAN, Edit, Place, edit_image, edit_numbers, with_one
from trials.tables.schemes import chosen

FIRST, SECOND = [0, *range(2, 10)], [1, *range(10, 18)]
"""Volumes of two halves of the usual scan, each with a b0."""

WHOLE = chosen([*FIRST, *SECOND], with_one)


def tried(name: str, build: Edit, *ends: Ending, words: str = "") -> Case:
    """One participant."""
    return Case(f"laboratories/{name}", (Step(ends, words),), build, weight=9.0)


def two_parts(scale: float = 1.0, shift: float = 0.0, **second: object) -> Edit:
    """The usual scan in two files; the second may have another scale, place and sidecar."""

    def build(place: Place) -> None:
        with_one(place)
        sidecar(PhaseEncodingDirection="j")(place)
        whole = place.scan()
        loaded = nibabel.load(whole)
        for run, rows in ((1, FIRST), (2, SECOND)):
            data = np.asarray(loaded.dataobj)[..., rows] * np.float32(scale if run == 2 else 1)
            affine = loaded.affine.copy()
            affine[0, 3] += shift if run == 2 else 0.0
            name = f"sub-01_run-{run}_dwi"
            nibabel.save(nibabel.Nifti1Image(data, affine), whole.with_name(f"{name}.nii.gz"))
            for ending in (".bval", ".bvec"):
                numbers = np.loadtxt(place.scan(ending=ending), ndmin=2)[:, rows]
                np.savetxt(whole.with_name(name + ending), numbers, fmt="%.8g")
            whole.with_name(f"{name}.json").write_text(place.scan(ending=".json").read_text())
        for ending in (".nii.gz", ".bval", ".bvec", ".json"):
            place.scan(ending=ending).unlink()
        if second:
            _write_second(place, **second)

    return build


def _write_second(place: Place, **values: object) -> None:
    path = place.scan().with_name("sub-01_run-2_dwi.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def _cut_second(place: Place) -> None:
    path = place.scan().with_name("sub-01_run-2_dwi.nii.gz")
    path.write_bytes(path.read_bytes()[:3000])


def _parts() -> Iterator[Case]:
    joined = right(like(build=WHOLE, limit=0.1), says("joined from"), labels=("01",))
    yield tried("two-parts", two_parts(), *joined)
    yield tried("two-parts-of-other-scales", two_parts(scale=3.0), *joined)
    yield tried("a-part-cut", changed(_cut_second, two_parts()), *fails(r"run-2_dwi", others=()))
    apart = {
        "opposed": ({"PhaseEncodingDirection": "j-"}, "opposite directions"),
        "of-other-echo-times": ({"EchoTime": 0.1}, "EchoTime differs"),
        "of-other-axes": ({"PhaseEncodingDirection": "i"}, "PhaseEncodingDirection differs"),
    }
    for name, (values, pattern) in apart.items():
        done = Ends((0,), (says(pattern), says("sub-01 done")))
        yield tried(f"parts-{name}", two_parts(**values), done)
    moved = Ends((0,), (says("different grids"), says("sub-01 done")))
    yield tried("parts-on-other-grids", two_parts(shift=4.0), moved)
    alone = Ends((0,), (says("separate-all-dwis"), says("sub-01 done")))
    yield tried("parts-kept-apart", two_parts(), alone, words="--separate-all-dwis")


def with_mask(make_mask: Callable[[np.ndarray], np.ndarray], move: float = 0.0) -> Edit:
    """A brain mask beside the scan, made of its first volume."""

    def build(place: Place) -> None:
        with_one(place)
        loaded = nibabel.load(place.scan())
        values = make_mask(np.asarray(loaded.dataobj[..., 0]))
        affine = loaded.affine.copy()
        affine[0, 3] += move
        path = place.scan().with_name("sub-01_desc-brain_mask.nii.gz")
        nibabel.save(nibabel.Nifti1Image(values, affine), path)

    return build


def _head(b0: np.ndarray) -> np.ndarray:
    return (b0 > 300).astype(np.uint8)


def _one_voxel(b0: np.ndarray) -> np.ndarray:
    mask = np.zeros(b0.shape, np.uint8)
    mask[6, 3, 5] = 1
    return mask


def _masks() -> Iterator[Case]:
    usual = with_mask(_head)
    same = right(like(build=usual), says("brain mask"), labels=("01",))
    fine = right(all_finite, says("brain mask"), labels=("01",))
    wrong = (*refused("mask"), *fails("mask", others=()))
    yield tried("mask-beside", usual, *fine)
    yield tried("mask-of-255", with_mask(lambda b0: _head(b0) * 255), *same)
    shares = with_mask(lambda b0: np.where(_head(b0), 0.9, 0.2).astype(np.float32))
    yield tried("mask-of-shares", shares, *same)
    nan = with_mask(lambda b0: np.where(_head(b0), 1, np.nan).astype(np.float32))
    yield tried("mask-NaN-outside", nan, *same)
    flat = with_mask(lambda b0: _head(b0)[..., None])
    yield tried("mask-of-4-dimensions", flat, *same, *wrong)
    full = with_mask(lambda b0: np.ones(b0.shape, np.uint8))
    yield tried("mask-of-all", full, *fine)
    yield tried("mask-empty", with_mask(lambda b0: _head(b0) * 0), *wrong)
    yield tried("mask-of-one-voxel", with_mask(_one_voxel), *fine, *wrong)
    yield tried("mask-of-other-size", with_mask(lambda b0: _head(b0)[1:]), *wrong)
    yield tried("mask-elsewhere", with_mask(_head, move=5.0), *wrong)

    def text_mask(place: Place) -> None:
        with_one(place)
        place.scan().with_name("sub-01_desc-brain_mask.nii.gz").write_text("a mask\n")

    yield tried("mask-of-text", text_mask, *wrong)
    found = right(like(build=with_one), labels=("01",))
    yield tried("mask-not-wanted", usual, *found, words="--brain-mask none")
    named = right(like(build=usual), labels=("01",))
    pattern = "in/sub-{sub}/dwi/sub-{sub}_desc-brain_m*.nii.gz"
    yield tried("mask-by-pattern", usual, *named, words=f"--brain-mask '{pattern}'")


def _written(**scan: object) -> Edit:
    def build(place: Place) -> None:
        place.input.mkdir()
        make._describe(place.input, "trial", {})
        make.write_scan(place.input, {**SCAN, **scan}, 0)

    return build


def _fsl(place: Place) -> None:
    make.write_scan(place.input, {**SCAN, "name": "01/data", "layout": "fsl"}, 0)


def _right_front_top(place: Place) -> None:
    """The usual scan, its first axis the other way: random weights know right from left."""
    with_one(place)
    turned = nibabel.as_closest_canonical(nibabel.load(place.scan()))
    # vectors stay: FSL turns their first number round where axes are right-handed
    nibabel.save(turned, place.scan())


def _kinds() -> Iterator[Case]:
    as_usual = right(like(build=with_one), labels=("01",))
    for ending in (".mif", ".mif.gz"):
        build = _written(name="sub-01/dwi/sub-01_dwi", layout="mrtrix", ending=ending)
        same = right(like(build=_right_front_top), labels=("01",))
        yield tried(f"mrtrix{ending}", build, *same)
    no_table = _written(name="sub-01/dwi/sub-01_dwi", layout="mrtrix", ending=".mif")
    lost = changed(lambda p: _replace(p, b"dw_scheme: ", b"old_table: "), no_table)
    yield tried("mrtrix-without-gradients", lost, *refused(r"sub-01_dwi\.mif"))
    cut = changed(lambda p: _cut(p, ".mif"), no_table)
    yield tried("mrtrix-cut", cut, *refused(r"\.mif"), *fails(r"\.mif", others=()))
    yield tried("fsl-folder", _fsl, *as_usual, words="--input-type fsl")
    yield tried("fsl-folder-not-named", _fsl, *as_usual)

    def without(name: str) -> Edit:
        return changed(lambda place: (place.input / "01" / name).unlink(), _fsl)

    yield tried("fsl-folder-without-bvecs", without("bvecs"), *refused("bvecs"))
    yield tried("fsl-folder-without-bvals", without("bvals"), *refused("bvals"))

    def again(place: Place) -> None:
        _fsl(place)
        shutil.copytree(place.input / "01", place.input / "0_1")

    yield tried("fsl-folders-of-one-label", again, *refused("0_1: .*rename", code=2))

    def inherited(place: Place) -> None:
        with_one(place)
        for ending in (".bval", ".bvec", ".json"):
            place.scan(ending=ending).rename(place.input / f"dwi{ending}")

    yield tried("gradients-of-all", inherited, *as_usual)

    def twice(place: Place) -> None:
        with_one(place)
        data = nibabel.load(place.scan())
        nibabel.save(data, place.scan(ending=".nii"))

    yield tried("compressed-and-not", twice, *right(like(build=with_one), labels=("01",)))

    def trace(place: Place) -> None:
        with_one(place)
        edit_image(place.scan(), lambda d: np.concatenate([d, d[..., 2:].mean(-1, keepdims=1)], 3))
        edit_numbers(place.scan(ending=".bval"), lambda r: np.c_[r, 1000])
        edit_numbers(place.scan(ending=".bvec"), lambda r: np.c_[r, np.zeros(3)])

    yield tried("a-trace-at-the-end", trace, *refused("trace", "--exclude-volumes 18"))
    yield tried("a-trace-left-out", trace, *as_usual, words="--exclude-volumes last")


def _replace(place: Place, old: bytes, new: bytes) -> None:
    path = place.scan(ending=".mif")
    path.write_bytes(path.read_bytes().replace(old, new))


def _cut(place: Place, ending: str) -> None:
    path = place.scan(ending=ending)
    path.write_bytes(path.read_bytes()[:-5000])


CASES: tuple[Case, ...] = (*_parts(), *_masks(), *_kinds())
