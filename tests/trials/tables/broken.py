"""Scans and data sets that cannot be used: refused in one line, which names file and remedy."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from functools import partial

import numpy as np

from trials.case import Case, Ending, Step
from trials.edits import bvals, bvecs, changed, header, image, set_voxel, text
from trials.judge import Ends, fails, refused, right
from trials.oracles import identical
from trials.place import Edit, Place, edit_image, edit_numbers, with_base
from trials.tables.scans import bad

broken = partial(bad, table="broken")


def _bad() -> Iterator[Case]:
    yield broken(
        "bval-missing", lambda p: p.scan(ending=".bval").unlink(), r"sub-01_dwi\.bval.*missing"
    )
    yield broken(
        "bvec-missing", lambda p: p.scan(ending=".bvec").unlink(), r"sub-01_dwi\.bvec.*missing"
    )
    yield broken("bval-empty", text(".bval", lambda b: b""), r"sub-01_dwi\.bval.*empty")
    yield broken("bval-of-words", text(".bval", lambda b: b"many " * 18), r"sub-01_dwi\.bval")
    yield broken("bval-short", bvals(lambda row: row[:, :-1]), r"sub-01_dwi\.bval.*17")
    yield broken(
        "bval-comma",
        text(".bval", lambda b: b.replace(b" ", b",")),
        r"sub-01_dwi\.bval",
        either=True,
    )
    yield broken(
        "bval-nan", text(".bval", lambda b: b.replace(b"1000", b"nan", 1)), r"sub-01_dwi\.bval"
    )
    yield broken("bval-negative", bvals(lambda row: -row), r"sub-01_dwi\.bval")
    yield broken("bval-in-ms-per-um2", bvals(lambda row: row / 1000), r"sub-01_dwi\.bval.*unit")
    yield broken("bval-in-s-per-m2", bvals(lambda row: row * 1e6), r"sub-01_dwi\.bval.*unit")
    yield broken("all-b0", bvals(lambda row: row * 0), r"b0|b-value")
    yield broken("no-b0", bvals(lambda row: row * 0 + 1000), "b0")
    yield broken("bval-and-bvec-swapped", _swapped, r"sub-01_dwi\.(bval|bvec).*swap")
    yield broken("bvec-short", bvecs(lambda rows: rows[:, :-1]), r"sub-01_dwi\.bvec.*17")
    yield broken("bvec-of-two-rows", bvecs(lambda rows: rows[:2]), r"sub-01_dwi\.bvec")
    yield broken("bvec-zeros", bvecs(lambda rows: rows * 0), r"sub-01_dwi\.bvec")
    yield broken("bvec-is-binary", text(".bvec", lambda b: bytes(range(256))), r"sub-01_dwi\.bvec")
    yield broken("bvec-is-a-folder", _bvec_folder, r"sub-01_dwi\.bvec")
    yield broken(
        "image-cut",
        text(".nii.gz", lambda b: b[: len(b) // 2]),
        r"sub-01_dwi\.nii\.gz.*(cut|truncated|damaged|whole)",
    )
    yield broken("image-cut-at-its-end", text(".nii.gz", lambda b: b[:-6]), r"sub-01_dwi\.nii\.gz")
    yield broken("image-one-byte-wrong", text(".nii.gz", _wrong_byte), r"sub-01_dwi\.nii\.gz")
    yield broken("image-empty", text(".nii.gz", lambda b: b""), r"sub-01_dwi\.nii\.gz")
    yield broken(
        "image-of-text",
        text(".nii.gz", lambda b: b"version https://git-lfs.github.com/spec/v1\n"),
        r"sub-01_dwi\.nii\.gz",
    )
    yield broken(
        "image-not-gzip", text(".nii.gz", gzip.decompress), r"sub-01_dwi\.nii\.gz", either=True
    )
    yield broken("image-zip", text(".nii.gz", lambda b: b"PK\3\4" + b), r"sub-01_dwi\.nii\.gz")
    yield broken(
        "image-link-to-nowhere", _dangling, r"sub-01_dwi\.nii\.gz.*(link|not there|missing|fetch)"
    )
    yield broken("image-is-a-folder", _image_folder, r"sub-01")
    yield broken("image-of-3-dimensions", image(lambda d: d[..., 0]), "dimension|diffusion")
    yield broken(
        "image-of-5-dimensions", image(lambda d: d[..., None, :]), "dimension", either=True
    )
    yield broken("image-of-one-slice", image(lambda d: d[:, :, 5:6]), "slice|thin|voxel|brain")
    yield broken("image-complex", image(lambda d: d.astype(np.complex64)), "complex|type")
    yield broken("image-all-zero", image(lambda d: d * 0), "sub-01_dwi.*(zero|brain|constant)")
    yield broken("image-constant", image(lambda d: d * 0 + 7), r"sub-01_dwi.*(constant|brain|same)")
    yield broken(
        "image-all-NaN", image(lambda d: d * np.nan), "sub-01_dwi.*(NaN|finite|empty|no number)"
    )
    yield broken("image-negative", image(lambda d: -d), r"sub-01_dwi.*(negative|brain|signal)")
    yield broken("image-one-bright-voxel", image(_one_bright), r"sub-01_dwi.*(brain|voxel)")
    yield broken(
        "image-volumes-missing",
        image(lambda d: d[..., :-2]),
        r"sub-01_dwi\.(bval|bvec|nii\.gz).*16|18",
    )
    yield broken(
        "affine-singular",
        header(srow_x=[0, 0, 0, 0], srow_y=[0, 0, 0, 0], srow_z=[0, 0, 0, 0], sform_code=1),
        "affine|header|axes|voxel",
        either=True,
    )
    yield broken("affine-NaN", header(srow_x=[np.nan] * 4, sform_code=1), "affine|header|finite")
    yield broken(
        "voxels-of-0-mm",
        header(pixdim=[1, 0, 0, 0, 5, 0, 0, 0], sform_code=0, qform_code=1),
        "voxels of 0 x 0 x 0 mm",
    )
    yield broken(
        "sform-and-qform-differ", header(qform_code=1, qoffset_x=80), "sform|qform", either=True
    )
    yield broken("sidecar-cut", text(".json", lambda b: b[:20]), r"sub-01_dwi\.json")
    yield broken(
        "sidecar-a-list", text(".json", lambda b: b"[1, 2]"), r"sub-01_dwi\.json", either=True
    )
    yield broken(
        "sidecar-nested", text(".json", lambda b: b"[" * 3000 + b"]" * 3000), r"sub-01_dwi\.json"
    )
    yield broken(
        "sidecar-latin-1",
        text(".json", lambda b: b'{"Name": "M\xfcller"}'),
        r"sub-01_dwi\.json",
        either=True,
    )
    yield broken("sidecar-empty", text(".json", lambda b: b""), r"sub-01_dwi\.json", either=True)
    yield broken("five-directions", _five, "direction")
    yield broken("long-label", lambda p: _rename(p, "L" * 225), "shorter|too long")
    yield broken("folder-without-images", _no_images, "no diffusion scan|no image")
    yield broken("other-format", lambda p: p.scan().rename(p.scan(ending=".mif")), r"\.mif")


def _swapped(place: Place) -> None:
    bval, bvec = (place.scan(ending=e) for e in (".bval", ".bvec"))
    texts = bval.read_text(), bvec.read_text()
    bval.write_text(texts[1])
    bvec.write_text(texts[0])


def _bvec_folder(place: Place) -> None:
    place.scan(ending=".bvec").unlink()
    place.scan(ending=".bvec").mkdir()


def _image_folder(place: Place) -> None:
    place.scan().unlink()
    place.scan().mkdir()


def _dangling(place: Place) -> None:
    place.scan().unlink()
    place.scan().symlink_to("../../.git/annex/objects/xx/SHA256E-s1.nii.gz")


def _wrong_byte(content: bytes) -> bytes:
    wrong = bytearray(content)
    wrong[len(wrong) // 2] ^= 255
    return bytes(wrong)


def _one_bright(data: np.ndarray) -> np.ndarray:
    return set_voxel(data * 0, 1000.0)


def _five(place: Place) -> None:
    edit_image(place.scan(), lambda data: data[..., :7])
    for ending in (".bval", ".bvec"):
        edit_numbers(place.scan(ending=ending), lambda rows: rows[:, :7])


def _no_images(place: Place) -> None:
    for path in place.scan().parent.iterdir():
        path.unlink()


def _rename(place: Place, label: str) -> None:
    folder = place.input / f"sub-{label}/dwi"
    folder.mkdir(parents=True)
    for path in place.scan().parent.iterdir():
        path.rename(folder / path.name.replace("sub-01", f"sub-{label}"))
    place.scan().parent.rmdir()
    place.scan().parent.parent.rmdir()


def _whole() -> Iterator[Case]:
    """The data set as a whole."""

    def description(content: bytes) -> Edit:
        return lambda place: (place.input / "dataset_description.json").write_bytes(content)

    raw = b'{"Name": "a", "BIDSVersion": "1.10.0", "GeneratedBy": %s, "DatasetType": "raw"}'
    validated = Step(()).line.replace(" --skip-bids-validation", "")

    def whole(name: str, edit: Edit, *ends: Ending) -> Case:
        return Case(f"broken/{name}", (Step(ends, line=validated),), changed(edit, with_base))

    def missing(place: Place) -> None:
        (place.input / "dataset_description.json").unlink()

    yield whole("description-missing", missing, *refused("dataset_description.json"))
    yield whole("description-cut", description(b'{"Name": '), *refused("dataset_description.json"))
    yield whole("description-a-list", description(b"[]"), *refused("dataset_description.json"))
    yield whole("description-empty", description(b""), *refused("dataset_description.json"))
    ours = (*refused("dataset_description.json"), *right(identical()))
    yield whole("generated-by-3", description(raw % b"3"), *ours)
    yield whole("generated-by-a-word", description(raw % b'["QSIPrep"]'), *ours)
    yield whole("description-byte-order-mark", description(b"\xef\xbb\xbf" + raw % b"[]"), *ours)

    def nobody(place: Place) -> None:
        for folder in place.input.glob("sub-*"):
            folder.rename(place.root / "home" / folder.name)

    yield whole("nobody", nobody, *refused("no folder sub-|no participant"))
    nested = text(".json", lambda b: b"[" * 3000 + b"]" * 3000)
    yield whole("odd-sidecar-and-validator", nested, *fails(r"sub-01_dwi\.json"))

    def ignore(place: Place) -> None:
        (place.input / ".bidsignore").write_text("sub-01\n")

    yield whole("bidsignore", ignore, Ends((0, 1)))


CASES: tuple[Case, ...] = (*_bad(), *_whole())
