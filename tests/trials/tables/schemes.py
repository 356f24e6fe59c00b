"""Schemes of gradients: what they tell comes out right, what they cannot is interpolated."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from examples import make

from dmri7t.signal.gradients import GradientTable
from trials.case import Case, Check, Run, Step, says
from trials.edits import brain, bvals, bvecs, changed, image
from trials.judge import fails
from trials.oracles import fibres_near, quality, snr_near, white_near
from trials.place import BRAIN, Edit, Place, edit_image, edit_numbers
from trials.tables.scans import INTERPOLATED, bad, same, taken


def chosen(rows: list[int], build: Edit) -> Edit:
    """These volumes of a scan, in this order; others lack, some may come twice."""

    def edit(place: Place) -> None:
        build(place)
        edit_image(place.scan(), lambda data: data[..., rows])
        for ending in (".bval", ".bvec"):
            edit_numbers(place.scan(ending=ending), lambda table: table[:, rows])

    return edit


def repeated(times: int, n: int, n_b0: int = 2) -> Edit:
    """So many directions, each measured so many times with noise of its own."""
    scan = {**BRAIN, "shells": {"1000": n}, "n_b0": n_b0}

    def edit(place: Place) -> None:
        write = brain(**scan)
        write(place)
        rows = [*range(n_b0), *[*range(n_b0, n_b0 + n)] * times]
        bval, bvec = (np.loadtxt(place.scan(ending=e), ndmin=2) for e in (".bval", ".bvec"))
        affine = make.make_affine(scan)
        table = GradientTable.from_fsl(bval[0, rows], bvec[:, rows], affine)
        data = make.phantom(scan["shape"], affine, table.bvals, table.directions, 7)
        edit_image(place.scan(), lambda old: data.astype(old.dtype))
        for ending in (".bval", ".bvec"):
            edit_numbers(place.scan(ending=ending), lambda numbers: numbers[:, rows])

    return edit


def never_translated(run: Run) -> str:
    """No shell went through the model."""
    told = [shell["name"] for shell in quality(run)["shells"] if shell["translated"]]
    return f"{', '.join(told)} went through the model" if told else ""


def _cases() -> Iterator[Case]:
    default = {"model": "default"}

    def near(snr: float = 1.4, share: float = 0.2) -> tuple[Check, ...]:
        tensor = (white_near("FA", share), white_near("MD", share), fibres_near(10))
        return (snr_near(26.0, snr), *tensor)

    tensor = (white_near("FA", 0.2), white_near("MD", 0.2), fibres_near(10))
    yield taken("each-direction-twice", repeated(2, 8), *near(), **default)
    clinical = repeated(3, 6, n_b0=1)
    yield taken("six-directions-three-times", clinical, *tensor, **default)
    six = brain(shells={"1000": 6}, n_b0=6)
    yield taken("six-b0s-six-directions", six, *tensor, **default)
    yield taken("six-and-thirty", brain(shells={"500": 6, "1000": 30}), *tensor, **default)
    yield taken("one-volume-of-a-shell", brain(shells={"1000": 16, "2000": 1}), *tensor, **default)
    yield taken("few-at-b-50", brain(shells={"50": 3, "1000": 16}), *tensor, **default)
    yield taken("b-700", brain(shells={"700": 30}), *tensor, **default)
    yield taken("b-2500-alone", brain(shells={"2500": 45}), fibres_near(10), **default)
    yield taken("b-10000-alone", brain(shells={"10000": 30}), INTERPOLATED, never_translated)
    end = [*range(2, 18), 0, 1]
    yield taken("b0s-at-the-end", chosen(end, brain()), *near(1.3, 0.15), **default)
    middle = [*range(2, 10), 0, *range(10, 18)]
    yield taken("one-b0-in-the-middle", chosen(middle, brain()), *tensor, **default)
    opposed = changed(bvecs(lambda r: np.where(np.arange(18) % 2, -r, r)), brain())
    yield taken("every-other-turned-round", opposed, *near(1.3, 0.15), **default)
    of_60 = changed(bvals(lambda row: np.where(row == 0, 60, row)), brain())
    yield taken("b0-of-60", of_60, *near(1.3, 0.15), **default)
    jitter = np.random.default_rng(3).uniform(-40, 40, 18)
    wide = changed(bvals(lambda row: np.where(row > 0, row + jitter, row)), brain())
    yield taken("b-values-spread-by-80", wide, *tensor, **default)
    yield same("b0-vectors-NaN", bvecs(lambda r: np.where(np.arange(18) < 2, np.nan, r)))
    yield same("all-vectors-of-length-2", bvecs(lambda rows: 2 * rows))
    short = bvecs(lambda rows: np.round(rows, 2))
    yield same("vectors-of-two-decimals", short, limit=0.05)
    cone = bvecs(_on_cone)
    yield bad("directions-on-a-cone", cone, "plane|cone|direction", either=True)
    plane = changed(bvecs(_nearly_flat), brain())
    flat = (INTERPOLATED, says("near to a plane"))
    yield taken("directions-nearly-in-a-plane", plane, *flat)
    line = bvecs(lambda rows: np.where(np.arange(18) < 2, 0, np.array([[1.0], [0], [0]])))
    yield bad("one-direction-sixteen-times", line, "1 different direction")
    yield bad("one-volume-ten-times-brighter", image(_spike), "volume 9 .*scale")
    turned = chosen([*range(17, -1, -1)], lambda place: None)

    def in_another_order(place: Place) -> None:
        turned(place)
        edit_image(place.scan(), lambda data: data[..., ::-1])

    yield bad("bvals-in-another-order", in_another_order, "volume 0 .*another order")
    zero = image(lambda data: _without(data, 17))
    step = Step(fails(r"in/sub-01/dwi/sub-01_dwi\.nii\.gz: .* volume 17 ", others=()), words=LEFT)
    yield Case("scans/a-lost-volume-behind-one-left-out", (step,), changed(zero))


LEFT = "--exclude-volumes 3"


def _without(data: np.ndarray, index: int) -> np.ndarray:
    data[..., index] = 0
    return data


def _on_cone(rows: np.ndarray) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, rows.shape[1], endpoint=False)
    cone = np.stack([np.cos(angle), np.sin(angle), np.ones_like(angle)]) / np.sqrt(2)
    return np.where(np.arange(rows.shape[1]) < 2, 0, cone)


def _nearly_flat(rows: np.ndarray) -> np.ndarray:
    flat = rows * np.array([[1], [1], [0.05]])
    return flat / np.maximum(np.linalg.norm(flat, axis=0), 1e-9)


def _spike(data: np.ndarray) -> np.ndarray:
    data[..., 9] *= 10
    return data


CASES: tuple[Case, ...] = tuple(_cases())
