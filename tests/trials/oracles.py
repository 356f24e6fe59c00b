"""Oracles: what is right about results, told by undisturbed runs, by truth, or by the input."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from examples import make

from trials.case import Check, Ending, Run, Step
from trials.execute import execute
from trials.judge import Ends, right
from trials.place import BRAIN, Edit, Place, once, tree_digest, with_base, with_one


def undisturbed(parent: Path, model: Path, words: str = "", build: Edit = with_base) -> Place:
    """A place in which the command has run without any fault; made once for all that ask.

    Raises
    ------
    RuntimeError
        If that run fails.
    """
    place = Place.make(parent)
    build(place)

    def run() -> Place:
        ended = execute(Step((Ends((0,)),), words), place, model)
        if ended.code != 0:
            raise RuntimeError(f"an undisturbed run failed: {ended.stdout[-2000:]}{ended.stderr}")
        return place

    made = once((parent, model, words, tree_digest(place.input)), run)
    if made is not place:
        place.remove()
    return made


def snapshot(place: Place) -> dict[str, str]:
    """Checksums of all results by name; pages tell times, and logs are no results."""
    found = {}
    for path in sorted(place.out.rglob("*")):
        name = str(path.relative_to(place.out))
        if path.is_file() and not name.startswith("logs/") and path.suffix != ".html":
            # where the input lies is told, and may lie elsewhere
            content = re.sub(rb'"file://[^"]*"', b'"PLACE"', path.read_bytes())
            found[name] = hashlib.sha256(content).hexdigest()
    return found


def identical(words: str = "", build: Edit = with_base, besides: str = "") -> Check:
    """Results are those of an undisturbed run, bit by bit.

    Parameters
    ----------
    words : str
        Options of that run.
    build : callable
        Its input.
    besides : str
        A pattern of names that may lie there, too.
    """

    def check(run: Run) -> str:
        expected = snapshot(undisturbed(run.place.root.parent, run.model, words, build))
        found = snapshot(run.place)
        if besides:
            found = {n: d for n, d in found.items() if n in expected or not re.search(besides, n)}
        other = sorted(set(expected) ^ set(found))
        other += [name for name in expected if found.get(name) not in (None, expected[name])]
        return f"not as in an undisturbed run: {', '.join(other[:4])}" if other else ""

    return check


def same_of(label: str, without: str = "") -> Check:
    """The results of one participant of the base data set are those of an undisturbed run.

    Parameters
    ----------
    label : str
    without : str
        A folder of his that is not looked at.
    """

    def check(run: Run) -> str:
        whole = snapshot(undisturbed(run.place.root.parent, run.model))
        found = snapshot(run.place)
        # its own page tells nothing else; what stands above all participants may differ
        own = {name: digest for name, digest in whole.items() if name.startswith(f"sub-{label}/")}
        if without:
            own = {n: d for n, d in own.items() if not n.startswith(f"sub-{label}/{without}/")}
        other = [name for name in own if found.get(name) != own[name]]
        return f"not as in an undisturbed run: {', '.join(other[:4])}" if other or not own else ""

    return check


def like(
    words: str = "",
    build: Edit = with_base,
    label: str = "01",
    limit: float = 1e-3,
    factor: float = 1.0,
) -> Check:
    """The 7T-like signals of a participant are those of another input's run.

    Parameters
    ----------
    words : str
        Options of that run.
    build : callable
        Its input.
    label : str
    limit : float
        Largest difference over the mean signal.
    factor : float
        Signals are so many times those.
    """

    def check(run: Run) -> str:
        other = undisturbed(run.place.root.parent, run.model, words, build)
        # axes may be stored in another order, or run the other way
        theirs, ours = (
            nibabel.as_closest_canonical(nibabel.load(place.result(label)))
            for place in (other, run.place)
        )
        if theirs.shape != ours.shape:
            return f"the result is {ours.shape}, not {theirs.shape}"
        if not np.allclose(theirs.affine, ours.affine, atol=1e-3):
            return (
                f"the result lies elsewhere: {ours.affine.tolist()}, not {theirs.affine.tolist()}"
            )
        a, b = theirs.get_fdata(), ours.get_fdata() / factor
        worst = float(np.abs(a - b).max() / a[a > 0].mean())
        return "" if worst <= limit else f"signals differ by {worst:.3g} of their mean"

    return check


ALONE: tuple[Ending, ...] = right(identical(build=with_one), labels=("01",))
"""The first participant alone, as in an undisturbed run."""


def quality(run: Run, label: str = "01") -> dict[str, Any]:
    """The record of metrics of a participant."""
    return json.loads(run.place.result(label, "desc-quality_dwi.json").read_text())


def sidecar(run: Run, label: str = "01") -> dict[str, Any]:
    """The sidecar of the 7T-like scan."""
    return json.loads(run.place.result(label, "desc-7Tlike_dwi.json").read_text())


def snr_near(truth: float, factor: float = 1.3) -> Check:
    """The SNR that is told is near the one that was put in."""

    def check(run: Run) -> str:
        told = quality(run)["snr"]
        near = told is not None and truth / factor <= told <= truth * factor
        return "" if near else f"SNR {told} is told where it is {truth:g}"

    return check


WHITE = {"FA": 0.755, "MD": 0.783e-3}
"""Of the phantom's white matter, of diffusivities 1.65, 0.35 and 0.35 times 1e-3 mm2/s."""

Values = Callable[[dict[int, np.ndarray]], str]


def by_tissue(name: str, judge: Values, scan: dict[str, Any] = BRAIN) -> Check:
    """Judge the values of a result in the tissues of the phantom.

    Parameters
    ----------
    name : str
        Of the result, after the participant's.
    judge : callable
        Takes the values inside the mask by tissue (1 grey matter, 2 white matter, 3 CSF).
    scan : dict
        Of the phantom, as in :data:`trials.place.BRAIN`.
    """

    def check(run: Run) -> str:
        image = nibabel.load(run.place.result(name=name))
        tissue = make.tissues(in_head(image, scan))
        inside = nibabel.load(run.place.result(name="desc-brain_mask.nii.gz")).get_fdata() > 0
        data = image.get_fdata()
        return judge({t: data[inside & (tissue == t)] for t in (1, 2, 3)})

    return check


def in_head(image: nibabel.Nifti1Image, scan: dict[str, Any] = BRAIN) -> np.ndarray:
    """Place of every voxel (X, Y, Z, 3) in the head of a phantom, 1 being its surface."""
    size = make.field_of_view(scan["shape"], make.make_affine(scan))
    index = np.stack(np.meshgrid(*map(np.arange, image.shape[:3]), indexing="ij"), -1)
    return (index @ image.affine[:3, :3].T + image.affine[:3, 3]) / (0.38 * size)


def fibres_near(degrees: float, scan: dict[str, Any] = BRAIN) -> Check:
    """The fibres of white matter run as the phantom's, by a tensor fitted to what was written.

    Parameters
    ----------
    degrees : float
        Largest median angle between both.
    scan : dict
        Of the phantom.
    """

    def check(run: Run) -> str:
        image = nibabel.load(run.place.result())
        bvals = np.loadtxt(run.place.result(name="desc-7Tlike_dwi.bval"))
        vectors = np.loadtxt(run.place.result(name="desc-7Tlike_dwi.bvec")).T
        # FSL's rule: along the image's axes, the first turned round where they are right-handed
        axes = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
        if np.linalg.det(axes) > 0:
            vectors[:, 0] *= -1
        x, y, z = axes @ vectors.T
        squares = [x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z]
        design = np.stack([np.ones_like(bvals), *(-bvals * each for each in squares)], 1)
        place = in_head(image, scan)
        radius = np.linalg.norm(place, axis=-1)
        white = (radius > 0.3) & (radius < 0.7)
        signals = np.log(np.maximum(image.get_fdata()[white], 1e-3))
        xx, yy, zz, xy, xz, yz = (signals @ np.linalg.pinv(design).T)[:, 1:].T
        tensors = np.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], -1).reshape(-1, 3, 3)
        main = np.linalg.eigh(tensors)[1][..., -1]
        cosine = np.abs((main * make.fibres(place[white])).sum(-1)).clip(0, 1)
        found = float(np.median(np.rad2deg(np.arccos(cosine))))
        return "" if found <= degrees else f"fibres run {found:.0f} degrees from the truth"

    return check


def white_near(measure: str, tolerance: float, scan: dict[str, Any] = BRAIN) -> Check:
    """The median of FA or MD in white matter is near the truth, up to this share of it."""
    truth = WHITE[measure]

    def judge(values: dict[int, np.ndarray]) -> str:
        found = float(np.median(values[2]))
        near = abs(found / truth - 1) <= tolerance
        return "" if near else f"{measure} of white matter is {found:.4g}, not {truth:.4g}"

    name = f"model-tensor_param-{measure.lower()}_desc-7Tlike_dwimap.nii.gz"
    return by_tissue(name, judge, scan)


def all_finite(run: Run) -> str:
    """No image of a participant has values that are not finite, nor absurd ones."""
    for path in sorted(run.place.result().parent.glob("*.nii.gz")):
        data = nibabel.load(path).get_fdata()
        if not np.isfinite(data).all() or np.abs(data).max() > 1e6:
            return f"{path.name} holds values that are not finite, or absurd"
    return ""


def sidecar_says(key: str, value: object) -> Check:
    """The sidecar of the 7T-like scan has this value; None: it has no such key."""

    def check(run: Run) -> str:
        found = sidecar(run).get(key)
        return "" if found == value else f"the sidecar says {key} = {found!r}, not {value!r}"

    return check


def report_says(pattern: str, label: str = "01") -> Check:
    """The participant's page has this text."""

    def check(run: Run) -> str:
        text = (run.place.out / f"sub-{label}.html").read_text()
        return "" if re.search(pattern, text) else f"the report does not say {pattern!r}"

    return check


def nothing_written(run: Run) -> str:
    """Neither results nor work lie there."""
    left = [n for n in ("out", "work") if (run.place.root / n).exists()]
    return f"leaves {', '.join(left)}" if left else ""
