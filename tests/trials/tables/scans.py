"""What scanners and converters write: the numbers come out right, or are refused in a line."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import nibabel
import numpy as np
from examples import make

from trials.case import Case, Check, Ending, Step, says
from trials.edits import brain, bvals, bvecs, changed, header, image, set_voxel, sidecar, text
from trials.judge import fails, refused, right
from trials.oracles import all_finite, fibres_near, like, sidecar_says, snr_near, white_near
from trials.place import BRAIN, SCAN, Edit, Place, edit_image, edit_numbers, scan_with, with_one

INTERPOLATED = says("interpolated only: ")


def same(name: str, edit: Edit, *checks: Check, limit: float = 1e-3) -> Case:
    """Another form of the same scan: the same signals come out."""
    as_usual = like(build=with_one, limit=limit)
    return Case(f"scans/{name}", (Step(right(as_usual, *checks, labels=("01",))),), changed(edit))


def taken(name: str, build: Edit, *checks: Check, words: str = "", model: str = "tiny") -> Case:
    """One participant, whose result must pass these checks."""
    step = Step(right(all_finite, *checks, labels=("01",)), words=words)
    return Case(f"scans/{name}", (step,), build, model, weight=12.0)


def bad(name: str, edit: Edit, *patterns: str, either: bool = False, table: str = "scans") -> Case:
    """A scan that cannot be used: refused in one line, or when it is read, its participant fails.

    With ``either``, it may also be taken, if the result is right then.
    """
    ends: tuple[Ending, ...] = (*refused(*patterns), *fails(*patterns, others=()))
    if either:
        ends = (*ends, *right(all_finite, labels=("01",)))
    return Case(f"{table}/{name}", (Step(ends),), changed(edit), weight=4.0)


def _forms() -> Iterator[Case]:
    def again(**changes: Any) -> Edit:
        def edit(place: Place) -> None:
            place.scan().unlink()
            make.write_scan(place.input, {**SCAN, "name": "sub-01/dwi/sub-01_dwi", **changes}, 0)

        return edit

    def as_nifti_2(place: Place) -> None:
        loaded = nibabel.load(place.scan())
        nibabel.save(nibabel.Nifti2Image(np.asarray(loaded.dataobj), loaded.affine), place.scan())

    def uncompressed(place: Place) -> None:
        path = place.scan(ending=".nii")
        path.write_bytes(gzip.decompress(place.scan().read_bytes()))
        place.scan().unlink()

    def scaled(place: Place) -> None:
        loaded = nibabel.load(place.scan())
        values = np.round(np.asarray(loaded.dataobj) / 0.05).astype(np.uint16)
        image = nibabel.Nifti1Image(values, loaded.affine)
        image.header.set_slope_inter(0.05, 0)
        nibabel.save(image, place.scan())

    def two_gzips(place: Place) -> None:
        raw = gzip.decompress(place.scan().read_bytes())
        half = len(raw) // 2
        place.scan().write_bytes(gzip.compress(raw[:half]) + gzip.compress(raw[half:]))

    def permuted(place: Place) -> None:
        loaded = nibabel.load(place.scan())
        order = np.random.default_rng(1).permutation(loaded.shape[3])
        edit_image(place.scan(), lambda data: data[..., order])
        for ending in (".bval", ".bvec"):
            edit_numbers(place.scan(ending=ending), lambda rows: rows[:, order])

    yield same("int16", again(dtype="int16"), limit=0.02)
    yield same("big-endian", again(dtype="big-endian"))
    yield same("nifti-2", as_nifti_2)
    yield same("uncompressed", uncompressed)
    yield same("uint16-scaled", scaled)
    yield same("float64", image(lambda data: data.astype(np.float64)))
    yield same("gzip-in-two-members", two_gzips)
    yield same("crlf", text(".bval", lambda b: b.replace(b"\n", b"\r\n")))
    yield same("tabs-and-spaces", text(".bvec", lambda b: b.replace(b" ", b"\t ")))
    yield same("bval-in-a-column", text(".bval", lambda b: b.replace(b" ", b"\n")))
    yield same("blank-lines-at-the-end", text(".bval", lambda b: b + b"\n \n"))
    yield same("no-newline-at-the-end", text(".bvec", lambda b: b.rstrip()))
    yield same("bval-byte-order-mark", text(".bval", lambda b: b"\xef\xbb\xbf" + b))
    yield same("exponents", text(".bval", lambda b: b.replace(b"1000", b"1.0e+03")))
    yield same("bvecs-in-columns", bvecs(lambda rows: rows.T))
    yield same("vectors-rounded", bvecs(lambda rows: np.round(rows, 3)), limit=5e-3)
    yield same("vectors-turned-round", bvecs(lambda rows: -rows))
    yield same("b0-with-a-vector", bvecs(lambda r: np.where(np.arange(18) < 2, [[1], [0], [0]], r)))
    yield same("b0-of-5", bvals(lambda row: np.where(row == 0, 5, row)))
    yield same("b-values-jitter", bvals(lambda row: row + 3 * (np.arange(18) % 3 - 1) * (row > 0)))
    yield same("sidecar-with-more", sidecar(SeriesDescription="äöü", Deep={"a": [1, {"b": None}]}))
    yield same("sidecar-byte-order-mark", text(".json", lambda b: b"\xef\xbb\xbf" + b))
    yield same("sidecar-without-field", lambda p: p.scan(ending=".json").write_text("{}"))
    yield same("times-in-milliseconds", header(xyzt_units=2 + 16))
    for name, factor in (("1e6", 1e6), ("1e-3", 1e-3), ("1e-7", 1e-7)):
        edit = image(lambda data, f=factor: data * f)
        times = like(build=with_one, factor=factor)
        step = Step(right(times, labels=("01",)))
        yield Case(f"scans/times-{name}", (step,), changed(edit))
    yield taken("volumes-in-any-order", changed(permuted))
    for name, change in {
        "oblique": {"tilt": 20},
        "positive-determinant": {"flip": [1, 1, 1]},
        "all-axes-turned": {"flip": [1, -1, -1]},
    }.items():
        scan = {**BRAIN, **change}
        near = (white_near("FA", 0.2, scan), white_near("MD", 0.2, scan), fibres_near(10, scan))
        yield taken(name, brain(**change), *near, model="default")


def _numbers() -> Iterator[Case]:
    default = {"model": "default"}
    near = (snr_near(26.0), white_near("FA", 0.15), white_near("MD", 0.15))
    yield taken("usual", brain(), *near, **default)
    for n in (6, 7, 10, 15, 20, 30, 60):
        wide = (snr_near(26.0, 1.4), white_near("FA", 0.2), white_near("MD", 0.2))
        scan = brain(shells={"1000": n})
        yield taken(f"{n}-directions", scan, *wide, **default)
    yield taken(
        "one-b0-six-directions", brain(shells={"1000": 6}, n_b0=1), white_near("FA", 0.2), **default
    )
    yield taken("two-shells", brain(shells={"1000": 16, "2000": 30}), *near, **default)
    ivim = {str(b): 12 for b in range(200, 1100, 100)}
    without = (*right(INTERPOLATED, labels=("01",)), *refused("a scheme without shells"))
    yield Case("scans/many-b-values", (Step(without),), brain(shells=ivim))
    yield taken("b-values-close", brain(shells={"950": 8, "1000": 8, "1050": 8}), *near, **default)
    low = {"100": 6, "1000": 16}
    yield taken("a-low-b-value", brain(shells=low), white_near("FA", 0.2), **default)
    yield taken("a-very-high-b-value", brain(shells={"1000": 16, "10000": 30}), INTERPOLATED)
    yield taken("grid-of-q-space", _q_space, INTERPOLATED)
    lost = (says("volume 17.*left out|without volumes 17"), white_near("FA", 0.2))
    for name, value in (("zeros", 0.0), ("NaN", np.nan), ("constant", 500.0)):
        edit = image(lambda data, v=value: _set_volume(data, 17, v))
        yield Case(
            f"scans/last-volume-{name}",
            (Step((*right(*lost, labels=("01",)), *refused("17"), *fails("17", others=()))),),
            changed(edit, brain()),
            "default",
        )
    edit = image(lambda data: _set_volume(data, 0, 0.0))
    yield bad("first-b0-zeros", edit, "volume 0|b0", either=True)
    plane = bvecs(lambda rows: _in_plane(rows))
    yield bad("directions-in-a-plane", plane, "plane|cone|direction", either=True)
    lengths = bvecs(lambda rows: rows * np.where(np.arange(18) == 10, 17.3, 1))
    yield bad("a-vector-of-another-length", lengths, "length", either=True)
    half = bvecs(lambda rows: rows * np.where(np.arange(18) >= 10, 0.7071, 1))
    yield bad("lengths-that-say-b-values", half, "length", either=True)
    yield bad(
        "a-voxel-of-1e20",
        image(lambda d: set_voxel(d, 1e20)),
        "1e|large|overflow|value",
        either=True,
    )
    yield bad("a-voxel-of-infinity", image(lambda d: set_voxel(d, np.inf)), "finite", either=True)
    yield bad(
        "micrometres",
        header(xyzt_units=3, pixdim=[1, 5000, 5500, 5000, 5, 0, 0, 0]),
        "unit|micro",
        either=True,
    )
    yield bad("data-begin-at-0", header(vox_offset=0), "vox_offset|begin|header")
    yield same("field-1.5", sidecar(MagneticFieldStrength=1.5), says("1.5 ?T|MagneticField"))
    yield same("field-a-word", sidecar(MagneticFieldStrength="3"))
    yield same("field-null", sidecar(MagneticFieldStrength=None))
    yield bad("field-7", sidecar(MagneticFieldStrength=7), "7 ?T")
    yield same(
        "sidecar-NaN",
        text(".json", lambda b: b.replace(b"0.08", b"NaN")),
        sidecar_says("EchoTime", None),
    )
    for value in ("y+", "AP", 1):
        yield same(
            f"phase-{value}",
            sidecar(PhaseEncodingDirection=value),
            sidecar_says("PhaseEncodingDirection", None),
        )
    yield taken("newborn", brain(voxel=[11.0, 11.0, 11.0]), **default)


def _set_volume(data: np.ndarray, index: int, value: float) -> np.ndarray:
    data[..., index] = value
    return data


def _in_plane(rows: np.ndarray) -> np.ndarray:
    flat = rows * np.array([[1], [1], [0]])
    return flat / np.maximum(np.linalg.norm(flat, axis=0), 1e-9)


def _q_space(place: Place) -> None:
    """A grid of whole numbers within a ball, as for DSI."""
    axis = np.arange(-2, 3)
    q = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    q = q[((q**2).sum(1) > 0) & ((q**2).sum(1) <= 5)]
    scan_with(shells={"1000": len(q)})(place)
    length = np.linalg.norm(q, axis=1)
    values = np.r_[0, 0, 400 * length**2]
    edit_numbers(place.scan(ending=".bval"), lambda row: values[None])
    vectors = np.r_[np.zeros((2, 3)), q / length[:, None]].T
    edit_numbers(place.scan(ending=".bvec"), lambda rows: vectors)


CASES: tuple[Case, ...] = (*_forms(), *_numbers())
