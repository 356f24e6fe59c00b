"""What headers of images and odd sidecars hold: used as it is meant, or refused in a line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator

import nibabel
import numpy as np

from trials.case import Case, says
from trials.edits import brain, changed, header, image, sidecar, text
from trials.oracles import fibres_near, report_says, sidecar_says, white_near
from trials.place import BRAIN, Edit, Place, edit_image, edit_numbers
from trials.tables.scans import bad, same, taken


def stored(dtype: type, slope: float, inter: float) -> Edit:
    """Values as numbers of another type, by slope and intercept."""

    def edit(place: Place) -> None:
        loaded = nibabel.load(place.scan())
        values = np.round((np.asarray(loaded.dataobj) - inter) / slope).astype(dtype)
        scaled = nibabel.Nifti1Image(values, loaded.affine, dtype=dtype)
        scaled.header.set_slope_inter(slope, inter)
        nibabel.save(scaled, place.scan())

    return edit


def raw(change: Callable[[bytes], bytes]) -> Edit:
    """Change the bytes of the uncompressed image."""
    return text(".nii.gz", lambda b: gzip.compress(change(gzip.decompress(b))))


def _extended(place: Place) -> None:
    loaded = nibabel.load(place.scan())
    copy = nibabel.Nifti1Image(np.asarray(loaded.dataobj), loaded.affine, loaded.header)
    copy.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 1000))
    nibabel.save(copy, place.scan())


def _permuted(place: Place) -> None:
    """Stored as a coronal acquisition is: other axes of the same head."""
    order = [0, 2, 1]
    loaded = nibabel.load(place.scan())
    affine = loaded.affine.copy()
    affine[:3, :3] = affine[:3, order]
    data = np.asarray(loaded.dataobj).transpose(*order, 3)

    def turned(rows: np.ndarray) -> np.ndarray:
        # FSL turns the first axis round where axes are right-handed
        own = rows * np.array([[1 if np.linalg.det(loaded.affine) < 0 else -1], [1], [1]])
        return own[order] * np.array([[1 if np.linalg.det(affine) < 0 else -1], [1], [1]])

    nibabel.save(nibabel.Nifti1Image(data, affine), place.scan())
    edit_numbers(place.scan(ending=".bvec"), turned)


def _without_frames(place: Place) -> None:
    """Neither sform nor qform: nibabel and FSL take the axes as radiologists do."""
    header(sform_code=0, qform_code=0)(place)


def _outside(value: float) -> Edit:
    """Another value where there is no head, as programs leave it that cut out brains."""

    def change(data: np.ndarray) -> np.ndarray:
        head = data[..., 0] > 200
        return np.where(head[..., None], data, np.float32(value))

    return image(change)


def _images() -> Iterator[Case]:
    near = (white_near("FA", 0.2), white_near("MD", 0.2), fibres_near(10))
    default = {"model": "default"}
    yield same("gzip-with-zeros-behind", text(".nii.gz", lambda b: b + bytes(512)))
    yield same("image-longer-than-its-header-says", raw(lambda b: b + bytes(1000)))
    yield same("header-with-an-extension", _extended)
    yield same("int32", stored(np.int32, 0.01, 0.0))
    yield same("int16-with-an-intercept", stored(np.int16, 0.05, 1000.0), limit=2e-3)
    yield same("slope-of-0", header(scl_slope=0))
    yield same("slope-no-number", header(scl_slope=np.nan, scl_inter=np.nan))
    yield same("units-that-nobody-knows", header(xyzt_units=7 + 56))
    for name, value in (("negative", -5.0), ("NaN", np.nan), ("infinite", np.inf)):
        sizes = [-1, 5, 5.5, 5, value, 0, 0, 0]
        yield same(f"repetition-time-{name}", header(pixdim=sizes))
    long = {"quatern_b": 0.9, "quatern_c": 0.9, "quatern_d": 0.9}
    yield same("quaternion-too-long", header(qform_code=1, **long), says("no rotation"))
    only = header(sform_code=0, qform_code=1, **long)
    yield bad("quaternion-too-long-and-no-sform", only, r"sub-01_dwi\.nii\.gz")
    yield same("qform-alone", header(sform_code=0, qform_code=1))
    yield taken("neither-sform-nor-qform", changed(_without_frames, brain()), *near, **default)
    yield taken("axes-permuted", changed(_permuted, brain()), *near, **default)
    thick = {"shape": [24, 28, 13], "voxel": [2.5, 2.5, 4.0]}
    flat = {**BRAIN, **thick}
    wide = (white_near("FA", 0.2, flat), white_near("MD", 0.2, flat), fibres_near(10, flat))
    yield taken("thick-slices", brain(**thick), *wide, **default)
    yield taken("outside-NaN", changed(_outside(np.nan), brain()), *near, **default)
    yield taken("outside-zero", changed(_outside(0.0), brain()), *near, **default)
    noisy = image(lambda data: data - np.float32(40))
    yield taken("negative-in-the-air", changed(noisy, brain()), white_near("FA", 0.3), **default)
    phase = image(lambda data: _phase(data.shape))
    yield bad("a-phase-image", phase, "sub-01_dwi.*(zero|phase|brain)")
    yield bad("float32-of-other-byte-order", raw(_swapped), "sub-01_dwi")
    yield bad("int16-of-other-byte-order", _integers_swapped, "sub-01_dwi")
    other = header(pixdim=[-1, 2, 2, 2, 5, 0, 0, 0])
    yield same("voxel-sizes-beside-the-sform", other, says("an sform of others"))
    yield bad("smallest", lambda p: edit_image(p.scan(), _eight), "brain|voxel", either=True)


def _phase(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(4).integers(-4096, 4096, shape).astype(np.int16)


def _swapped(content: bytes) -> bytes:
    return content[:352] + np.frombuffer(content[352:], "<f4").byteswap().tobytes()


def _swapped_integers(content: bytes) -> bytes:
    return content[:352] + np.frombuffer(content[352:], "<i2").byteswap().tobytes()


def _integers_swapped(place: Place) -> None:
    edit_image(place.scan(), lambda data: np.round(data).astype(np.int16))
    raw(_swapped_integers)(place)


def _eight(data: np.ndarray) -> np.ndarray:
    return data[2:10, 2:10, 1:9]


ODD = {
    "EchoTime": "0.08",
    "RepetitionTime": -1,
    "TotalReadoutTime": None,
    "SliceTiming": "interleaved",
    "SliceEncodingDirection": ["k"],
    "MultibandAccelerationFactor": {"a": {"b": [1, None, True]}},
    "Interpolation2D": ["no"],
    "AcquisitionMatrixPE": "104",
    "ReconMatrixPE": -3,
    "MultipartID": [1, {"x": 2}],
    "SpatialReference": 3,
    "Sources": {"a": 1},
    "ModelName": "another",
    "Synthetic": False,
    "Seed": 5,
    "SettingsSHA256": "0" * 64,
    "SeriesDescription": "<script>alert('x')</script>&amp;{{ 7 * 7 }}",
    "ProtocolName": "nul \0, surrogate \ud800, mark \u202e, line\u2028end",
    "InstitutionName": "n" * 100_000,
    "": "no name",
    'a key with spaces and "quotes"': 1e300,
}
"""Fields that must neither stop a run nor become what the results say of themselves."""


def _not_theirs(place: Place) -> None:
    # what Python writes of it is no strict JSON text, and no less read by most
    path = place.scan(ending=".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **ODD}))


def _sidecars() -> Iterator[Case]:
    yield same(
        "sidecar-of-odd-values",
        _not_theirs,
        sidecar_says("Synthetic", True),
        report_says("</html>"),
    )
    yield same("sidecar-in-utf-16", text(".json", lambda b: b.decode().encode("utf-16")))
    huge = text(".json", lambda b: b.replace(b"0.08", b"1e999"))
    yield same("sidecar-number-too-large", huge, sidecar_says("EchoTime", None))
    digits = text(".json", lambda b: b.replace(b"0.08", b"9" * 5000))
    yield bad("sidecar-number-of-5000-digits", digits, r"sub-01_dwi\.json", either=True)
    comma = text(".json", lambda b: b.rstrip().removesuffix(b"}") + b",}")
    yield bad("sidecar-comma-at-its-end", comma, r"sub-01_dwi\.json")
    quotes = text(".json", lambda b: b.replace(b'"', b"'"))
    yield bad("sidecar-single-quotes", quotes, r"sub-01_dwi\.json")
    for value in (["j"], "j+", ""):
        name = "list" if isinstance(value, list) else value or "empty"
        dropped = sidecar_says("PhaseEncodingDirection", None)
        yield same(f"phase-{name}", sidecar(PhaseEncodingDirection=value), dropped)
    for name, value in (("list", [3]), ("gauss", 30000), ("true", True), ("text", "3.0 T")):
        yield same(f"field-{name}", sidecar(MagneticFieldStrength=value))
    wrong = {"text": "3", "fraction": [3.5], "negative": [-1], "beyond": [99], "object": {"a": 1}}
    for name, value in wrong.items():
        yield bad(f"excluded-{name}", sidecar(ExcludedVolumes=value), "ExcludedVolumes")


CASES: tuple[Case, ...] = (*_images(), *_sidecars())
