"""Make example data sets: small, real in form, good and bad.

python bids_examples/make.py NAME OUT      NAME: a skeleton in good/ or broken/, or demo
python bids_examples/make.py --list
"""

from __future__ import annotations

import argparse
import gzip
import json
import tomllib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

HERE = Path(__file__).parent

SCAN = {"shape": [24, 28, 20], "shells": {"1000": 16}, "n_b0": 2}
"""What a scan of a skeleton is, if it does not say otherwise."""


GRID_BVAL = 4000.0
"""Highest b-value of a grid in q-space, s/mm2."""


def skeletons() -> dict[str, dict[str, Any]]:
    """Every skeleton by name, such as ``good/single``; ``group`` tells good from broken."""
    named = {}
    for group in ("good", "broken"):
        for path in sorted((HERE / group).glob("*.toml")):
            named[f"{group}/{path.stem}"] = {"group": group, **tomllib.loads(path.read_text())}
    return named


def spiral_directions(n: int) -> np.ndarray:
    """Directions (n, 3) spread over the half sphere along a spiral."""
    i = np.arange(n) + 0.5
    z, phi = i / n, np.pi * (1 + 5**0.5) * i
    flat = np.sqrt(1 - z**2)
    return np.stack([flat * np.cos(phi), flat * np.sin(phi), z], 1)


def qspace_grid(radius: int) -> np.ndarray:
    """Points (n, 3) of a Cartesian grid up to a radius, of every two that are opposite one."""
    steps = np.arange(-radius, radius + 1)
    points = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    inside = points[(points**2).sum(1) <= radius**2]
    # the origin is the one in the middle
    return inside[len(inside) // 2 + 1 :].astype(float)


def field_of_view(shape: list[int], affine: np.ndarray) -> np.ndarray:
    """Size of an image along the scanner's axes, mm (3,)."""
    return np.abs(affine[:3, :3]).sum(1) * np.array(shape)


def positions(shape: list[int], affine: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Position of every voxel (X, Y, Z, 3), scanner's axes, 1 being the surface of the head.

    ``size`` is the field of view in mm of the scan that decides how large the head is.
    """
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    return (index - (np.array(shape) - 1) / 2) @ affine[:3, :3].T / (0.38 * size)


def fibres(position: np.ndarray) -> np.ndarray:
    """Direction of the fibres of white matter (..., 3) at positions (..., 3), scanner's axes."""
    angle = 0.6 * position[..., 0] + 0.4
    fibre = np.stack([np.cos(angle), np.sin(angle), 0.2 * position[..., 2]], -1)
    return fibre / np.linalg.norm(fibre, axis=-1, keepdims=True)


def tissues(position: np.ndarray) -> np.ndarray:
    """Tissue at positions (..., 3): 0 none, 1 grey matter, 2 white matter, 3 CSF."""
    radius = np.linalg.norm(position, axis=-1)
    return np.select([radius < 0.225, radius < 0.775, radius < 0.975], [3, 2, 1], 0)


def folds_of(position: np.ndarray, head: int) -> np.ndarray:
    """How far white matter reaches out at positions (..., 3), as gyri do: about -1 to 1."""
    rng = np.random.default_rng(head)
    outwards = position / np.maximum(np.linalg.norm(position, axis=-1, keepdims=True), 1e-6)
    waves, phases = rng.normal(0, 9, (8, 3)), rng.uniform(0, 2 * np.pi, 8)
    return np.sin(outwards @ waves.T + phases).sum(-1) / 2.5


def phantom(
    shape: list[int],
    affine: np.ndarray,
    bvals: np.ndarray,
    directions: np.ndarray,
    seed: int,
    *,
    head: int = 0,
    size: np.ndarray | None = None,
    noise: float = 25,
) -> np.ndarray:
    """Noisy signals (X, Y, Z, N) of an ellipsoid: white matter, grey rim, CSF in the middle.

    ``directions`` (N, 3) and fibres are in the scanner's frame, whatever the affine. With the
    number of a ``head``, the rim is folded as it is in that head, CSF fills two ventricles, and
    fibres are straight.
    ``size`` (3,) is the field of view in mm that decides how large the head is: the image's own,
    where nothing is said.
    """
    rng = np.random.default_rng(seed)
    size = field_of_view(shape, affine) if size is None else size
    position = positions(shape, affine, size)
    radius = np.linalg.norm(position, axis=-1)
    if head:
        # straight within a slice, as the check of gradients expects of bundles
        angle = 1.2 * position[..., 2] + 0.4
        fibre = np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
    else:
        fibre = fibres(position)
    along = (fibre @ directions.T) ** 2
    white = 650 * np.exp(-bvals * (0.35e-3 + 1.3e-3 * along))
    grey = 800 * np.exp(-bvals * 0.85e-3)
    water = 1500 * np.exp(-bvals * 3e-3)
    border, inwards = np.asarray(0.75), 0.25 - radius
    if head:
        border = 0.8 + 0.13 * folds_of(position, head)
        beside, front, up = np.moveaxis(position, -1, 0)
        inwards = 0.16 - np.linalg.norm([np.abs(beside) - 0.15, front / 2, up], axis=0)
    rim = np.clip((radius - border) / 0.05, 0, 1)[..., None]
    core = np.clip(inwards / 0.05, 0, 1)[..., None]
    inside = np.clip((1 - radius) / 0.05, 0, 1)[..., None]
    signal = inside * (core * water + (1 - core) * (rim * grey + (1 - rim) * white))
    drawn = rng.normal(0, noise, (2, *signal.shape))
    return np.hypot(signal + drawn[0], drawn[1])


def make_affine(scan: dict[str, Any]) -> np.ndarray:
    """Affine with the scan's voxel sizes, turned by ``tilt`` degrees about x and z."""
    tilt = np.deg2rad(scan.get("tilt", 0))
    c, s = np.cos(tilt), np.sin(tilt)
    turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.array(
        [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    )
    # most converters store the first axis from right to left
    affine = np.eye(4)
    affine[:3, :3] = (
        turn @ np.diag(scan.get("voxel", [2.5] * 3)) @ np.diag(scan.get("flip", [-1, 1, 1]))
    )
    affine[:3, 3] = -affine[:3, :3] @ (np.array(scan["shape"]) - 1) / 2
    return affine


def gradients(scan: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """b-values (N,) and directions (N, 3) of a scan, in the scanner's frame."""
    bvals, directions = [0.0] * scan["n_b0"], [np.zeros((scan["n_b0"], 3))]
    if "grid" in scan:
        q = qspace_grid(scan["grid"])
        lengths = np.linalg.norm(q, axis=1)
        bvals += list(GRID_BVAL * lengths**2 / scan["grid"] ** 2)
        directions.append(q / lengths[:, None])
    for bval, n in ({} if "grid" in scan else scan["shells"]).items():
        bvals += [float(bval)] * n
        directions.append(spiral_directions(n))
    return np.array(bvals), np.concatenate(directions)


def write_scan(root: Path, scan: dict[str, Any], seed: int) -> None:
    """Write image, bval, bvec and sidecar of one scan, and then the flaw it shall have."""
    from dmri7t.signal.gradients import GradientTable

    layout = scan.get("layout", "raw")
    # QSIPrep writes LPS+
    usual = {"qsiprep": {"flip": [-1, -1, 1]}, "hcp": {"bval": "bvals", "bvec": "bvecs"}}
    usual["fsl"] = {
        name: str(Path(scan["name"]).with_name(f"{name}s")) for name in ("bval", "bvec")
    }
    scan = {**SCAN, **usual.get(layout, {}), **scan}
    table = GradientTable(*gradients(scan))
    affine = make_affine(scan)
    shape, head = scan["shape"], scan.get("head", 0)
    data = phantom(shape, affine, table.bvals, table.directions, seed, head=head)
    image = nibabel.Nifti1Image(data.astype(np.float32), affine)
    image.header.set_zooms([*image.header.get_zooms()[:3], 5.0])
    image.header.set_xyzt_units("mm", "sec")
    if scan.get("dtype") == "int16":
        image.set_data_dtype(np.int16)
    if scan.get("dtype") == "big-endian":
        image = nibabel.Nifti1Image(data, affine, nibabel.Nifti1Header(endianness=">"))
        image.set_data_dtype(np.dtype(">f4"))
    stem = root / scan["name"]
    stem.parent.mkdir(parents=True, exist_ok=True)
    path = stem.with_name(stem.name + scan.get("ending", ".nii.gz"))
    bvecs = table.to_fsl(affine)
    if layout == "mrtrix":
        write_mif(path, data, affine, table)
        stem.with_name(stem.name + ".json").write_text('{"MagneticFieldStrength": 3}')
        if "flaw" in scan:
            FLAWS[scan["flaw"]](path, path, table.bvals, bvecs)
        return
    nibabel.save(image, path)
    beside = stem.parent if layout == "hcp" else root
    bval = beside / scan.get("bval", scan["name"] + ".bval")
    _numbers(bval, table.bvals[None])
    _numbers(beside / scan.get("bvec", scan["name"] + ".bvec"), bvecs)
    if "rotated" in scan:
        _numbers(stem.with_name(scan["rotated"]), bvecs)
    if layout not in ("hcp", "fsl"):
        sidecar = {
            **scan.get("sidecar", {}),
            "EchoTime": 0.08,
            "RepetitionTime": 5.0,
            "MagneticFieldStrength": 3,
        }
        stem.with_name(stem.name + ".json").write_text(json.dumps(sidecar, indent=2) + "\n")
    if "mask" in scan:
        _mask(root / scan["mask"], scan["shape"], affine)
    if layout == "qsiprep":
        _beside_qsiprep(stem, scan, image, table)
    if layout == "hcp":
        _mask(stem.with_name("nodif_brain_mask.nii.gz"), scan["shape"], affine)
    if "flaw" in scan:
        # files of a flaw have the image's name; those that stand elsewhere have none
        FLAWS[scan["flaw"]](path, stem.with_name(stem.name + ".bval"), table.bvals, bvecs)


def write_mif(path: Path, data: np.ndarray, affine: np.ndarray, table: Any) -> None:
    """Write an image of MRtrix, of which axes point to the right, the front and the top.

    ``affine`` has no other rotation than that which its largest entries show; values are stored as
    they lie in ``data``.
    """
    flips = np.sign(np.diag(affine)[:3])
    ends = np.where(flips < 0, np.array(data.shape[:3]) - 1, 0)
    first = affine[:3, :3] @ ends + affine[:3, 3]
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    rotation = affine[:3, :3] * flips / sizes
    signs = ["-" if flip < 0 else "+" for flip in flips]
    rows = np.c_[table.directions, table.bvals]
    lines = [
        "mrtrix image",
        f"dim: {','.join(map(str, data.shape))}",
        f"vox: {','.join(f'{mm:g}' for mm in sizes)},5",
        f"layout: {signs[0]}0,{signs[1]}1,{signs[2]}2,+3",
        "datatype: Float32LE",
        *(f"transform: {','.join(f'{v:.9g}' for v in [*rotation[i], first[i]])}" for i in range(3)),
        *(f"dw_scheme: {','.join(f'{v:.9g}' for v in row)}" for row in rows),
    ]
    header = "\n".join(lines)
    offset = (len(header) + 40) // 4 * 4
    text = f"{header}\nfile: . {offset}\nEND\n".encode().ljust(offset, b"\0")
    content = text + data.astype("<f4").tobytes(order="F")
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def _mask(path: Path, shape: list[int], affine: np.ndarray) -> None:
    inside = tissues(positions(shape, affine, field_of_view(shape, affine))) > 0
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(inside.astype(np.uint8), affine), path)


def _beside_qsiprep(stem: Path, scan: dict[str, Any], image: Any, table: Any) -> None:
    """What QSIPrep writes beside a scan: gradients as MRtrix has them, mask, reference, tables."""
    if scan.get("b", True):
        _numbers(stem.with_name(stem.name + ".b"), np.c_[table.directions, table.bvals])
    space = stem.name.removesuffix("_desc-preproc_dwi")
    _mask(stem.with_name(f"{space}_desc-brain_mask.nii.gz"), scan["shape"], image.affine)
    reference = nibabel.Nifti1Image(np.asarray(image.dataobj[..., 0]), image.affine)
    nibabel.save(reference, stem.with_name(f"{space}_dwiref.nii.gz"))
    stem.with_name(f"{space}_desc-image_qc.tsv").write_text("t1_neighbor_corr\n0.7\n")
    plain = space.rsplit("_space-", 1)[0]
    stem.with_name(f"{plain}_desc-confounds_timeseries.tsv").write_text("framewise\n0.1\n")


def write_anatomy(root: Path, anatomy: dict[str, Any]) -> None:
    """Write brain mask and tissues as fMRIPrep or QSIPrep do, on a grid of 1.5 mm.

    ``values`` are those of grey matter, white matter and CSF; without them, probabilities are
    written. ``shift`` (mm) puts the head elsewhere, as in another space.
    """
    grid = {"shape": [44, 52, 38], "voxel": [1.5] * 3, "flip": anatomy.get("flip", [-1, -1, 1])}
    affine = make_affine(grid)
    usual = field_of_view(SCAN["shape"], make_affine(SCAN))
    tissue = tissues(positions(grid["shape"], affine, usual))
    affine[:3, 3] += anatomy.get("shift", [0, 0, 0])
    stem = root / anatomy["name"]
    stem.parent.mkdir(parents=True, exist_ok=True)

    def save(ending: str, values: np.ndarray) -> None:
        image = nibabel.Nifti1Image(values, affine)
        nibabel.save(image, stem.with_name(f"{stem.name}_{ending}.nii.gz"))

    save("desc-brain_mask", (tissue > 0).astype(np.uint8))
    if "values" in anatomy:
        save("dseg", np.array([0, *anatomy["values"]], np.uint8)[tissue])
        return
    for value, name in enumerate(("GM", "WM", "CSF"), start=1):
        save(f"label-{name}_probseg", (tissue == value).astype(np.float32))


def _numbers(path: Path, rows: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(" ".join(f"{v:.6g}" for v in row) for row in rows) + "\n")


def _missing_bval(image: Path, bval: Path, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    bval.unlink()


def _short_bvec(image: Path, bval: Path, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    _numbers(bval.with_suffix(".bvec"), bvecs[:, :-1])


def _three_dimensions(image: Path, bval: Path, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    loaded = nibabel.load(image)
    first = np.asarray(loaded.dataobj[..., 0])
    nibabel.save(nibabel.Nifti1Image(first, loaded.affine), image)


def _nan_gradient(image: Path, bval: Path, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    bvecs[0, -1] = np.nan
    _numbers(bval.with_suffix(".bvec"), bvecs)


def _zero_gradient(image: Path, bval: Path, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    bvecs[:, -1] = 0
    _numbers(bval.with_suffix(".bvec"), bvecs)


def _trace_at_end(image: Path, bval: Path, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    bvecs[:, -2:] = 0
    _numbers(bval.with_suffix(".bvec"), bvecs)


def _no_b0(image: Path, bval: Path, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    bvecs[2, bvals == 0] = 1
    _numbers(bval, np.where(bvals == 0, 500.0, bvals)[None])
    _numbers(bval.with_suffix(".bvec"), bvecs)


def _swapped(image: Path, bval: Path, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    _numbers(bval, bvecs)
    _numbers(bval.with_suffix(".bvec"), bvals[None])


def _other_unit(image: Path, bval: Path, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    _numbers(bval, bvals[None] / 1000)


def _no_scheme(image: Path, bval: Path, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    image.write_bytes(image.read_bytes().replace(b"dw_scheme: ", b"old_grads: "))


def _truncated(image: Path, bval: Path, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])


def _bad_sidecar(image: Path, bval: Path, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    bval.with_suffix(".json").write_text('{"EchoTime": ')


def _wrong_bvec(image: Path, bval: Path, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    _numbers(bval.with_suffix(".bvec"), bvecs * np.array([[-1], [1], [1]]))


def _wrong_b(image: Path, bval: Path, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    table = np.loadtxt(bval.with_suffix(".b"))
    table[-1, 3] = 2000
    _numbers(bval.with_suffix(".b"), table)


def _missing_mask(image: Path, bval: Path, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    (mask,) = image.parent.glob("*mask.nii.gz")
    mask.unlink()


def _small_mask(image: Path, bval: Path, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    (mask,) = image.parent.glob("*mask.nii.gz")
    loaded = nibabel.load(mask)
    nibabel.save(nibabel.Nifti1Image(np.asarray(loaded.dataobj)[:-1], loaded.affine), mask)


FLAWS = {
    "wrong bvec": _wrong_bvec,
    "wrong b": _wrong_b,
    "missing mask": _missing_mask,
    "small mask": _small_mask,
    "missing bval": _missing_bval,
    "short bvec": _short_bvec,
    "three dimensions": _three_dimensions,
    "nan gradient": _nan_gradient,
    "zero gradient": _zero_gradient,
    "trace at end": _trace_at_end,
    "no b0": _no_b0,
    "no scheme": _no_scheme,
    "swapped": _swapped,
    "other unit": _other_unit,
    "truncated": _truncated,
    "bad sidecar": _bad_sidecar,
}
"""What can be broken about a scan."""


def make_dataset(name: str, out: Path) -> dict[str, Any]:
    """Make a data set from its skeleton; returns the skeleton."""
    skeleton = skeletons()[name]
    out.mkdir(parents=True, exist_ok=True)
    if skeleton.get("description", True):
        for dataset in skeleton.get("dataset", [{}]):
            _describe(out / dataset.get("path", "."), name, dataset)
    (out / "README").write_text(skeleton["text"] + "\n")
    for seed, scan in enumerate(skeleton["scan"]):
        write_scan(out, scan, seed)
    for anatomy in skeleton.get("anatomy", []):
        write_anatomy(out, anatomy)
    for file in skeleton.get("files", []):
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        (out / file).write_text("for an example\n")
    return skeleton


def _describe(folder: Path, name: str, dataset: dict[str, Any]) -> None:
    """Write dataset_description.json; ``made_by`` makes a derivative, ``old`` one of long ago."""
    text: dict[str, Any] = {"Name": f"dmri7t example {name}", "BIDSVersion": "1.10.0"}
    maker = {"Name": dataset.get("made_by"), "Version": dataset.get("version", "1.0.0")}
    if dataset.get("old"):
        text |= {"BIDSVersion": "1.1.1", "PipelineDescription": maker}
    elif "made_by" in dataset:
        text |= {"DatasetType": "derivative", "GeneratedBy": [maker]}
    else:
        text["DatasetType"] = "raw"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset_description.json").write_text(json.dumps(text, indent=2) + "\n")


def expected(skeleton: dict[str, Any]) -> dict[str, str]:
    """How results begin, by what they are made from: a pattern for the image in the input."""
    yields = skeleton.get("yields", [])
    return yields if isinstance(yields, dict) else {stem: f"{stem}_dwi.nii*" for stem in yields}


def arguments(skeleton: dict[str, Any], root: Path) -> list[str]:
    """What follows ``dmri7t root out participant`` for a data set that was made at ``root``."""
    return [word.format(root=root) for word in skeleton.get("arguments", [])]


def make_demo(out: Path) -> None:
    """Simulate the 3T scan of one head at 2.2 mm, 3 b0 and 30 directions at b = 1000."""
    from dmri7t.simulation.dataset import Layout, simulate_dataset

    layout = Layout(
        voxel_size=2.2, voxel_size_7t=1.848, n_directions=30, n_b0=3, snr=22.0, fields=(3,)
    )
    simulate_dataset(out, subjects=1, seed=1, layout=layout)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("name", nargs="?", choices=["demo", *skeletons()])
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--list", action="store_true", help="name every data set and stop")
    args = parser.parse_args()
    if args.list or args.name is None or args.out is None:
        print(
            "demo: a simulated head\n"
            + "\n".join(f"{n}: {s['text']}" for n, s in skeletons().items())
        )
    elif args.name == "demo":
        make_demo(args.out)
    else:
        make_dataset(args.name, args.out)


if __name__ == "__main__":
    main()
