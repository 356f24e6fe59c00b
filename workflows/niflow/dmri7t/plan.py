"""What must be known of a scan before its graph can be drawn: shells, sizes, names."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import attrs

from dmri7t.errors import InputError
from dmri7t.models.bundle import model_checksum, read_config, resolve_model
from dmri7t.settings import Settings
from dmri7t.signal.gradients import (
    MIN_DIRECTIONS,
    TENSOR_BVAL_LIMIT,
    GradientTable,
    ShellVolumes,
    count_distinct,
    find_shells,
)
from dmri7t.signal.grids import Grid, default_output_voxel, refine
from dmri7t.signal.spaces import MIN_DICE, MIN_DICE_NAMED

RANGE_SLACK = 0.02
"""b-values this little outside the model's range still go through it."""

BRAIN_SHARE = 0.45
"""Share of the image that a brain mask fills at most, for estimates of memory."""


@attrs.frozen
class Tissues:
    """A segmentation that comes with a scan; holds no paths.

    Parameters
    ----------
    labels : tuple of int
        Values of GM, WM and CSF in one image; empty: there are three, of their probabilities.
    maker : str
        Who made it, for sentences.
    uri : str
        BIDS URI.
    dice_needed : float
        Overlap of the two brain masks from which on the spaces are taken to be the same.
    """

    labels: tuple[int, ...]
    maker: str
    uri: str
    dice_needed: float = MIN_DICE


@attrs.frozen(eq=False)
class ScanPlan:
    """A scan as its graph sees it; holds no paths.

    Parameters
    ----------
    name : str
        Name of the scan's workflow.
    stem : str
        Source entities joined, such as ``sub-01_dir-AP``.
    grid, grid_out : Grid
        Of the input and of the output.
    n_volumes : int
    b0 : tuple of int
        b0 volumes.
    translated : tuple of ShellVolumes
        Shells that go through the model.
    passed : tuple of ShellVolumes
        Shells that are interpolated only.
    tensor_volumes : list of int
        Volumes of the tensor fit: b0s and shells up to 1500, or else the lowest shell with
        directions enough.
    directions : dict of int
        How many different directions each shell has, by name.
    reasons : dict of str
        Why each passed shell is interpolated only, by name.
    optional : tuple of str
        Optional input files that the scan has: ``grad_b``, ``mask``.
    repetition_time : float
        Seconds from volume to volume, as the header has it; 0: unknown.
    kind : str
        What the source is, see :class:`dmri7t.io.inputs.Scan`; empty: unknown.
    tissues : Tissues, optional
        What is known of the tissues that come with the scan.
    slice_axis : int
        Axis of the image along which slices were acquired.
    """

    name: str
    stem: str
    grid: Grid
    grid_out: Grid
    n_volumes: int
    b0: tuple[int, ...]
    translated: tuple[ShellVolumes, ...]
    passed: tuple[ShellVolumes, ...]
    tensor_volumes: list[int]
    directions: dict[str, int] = attrs.field(factory=dict)
    reasons: dict[str, str] = attrs.field(factory=dict)
    optional: tuple[str, ...] = ()
    repetition_time: float = 0.0
    kind: str = ""
    tissues: Tissues | None = None
    slice_axis: int = 2

    @property
    def interpolated(self) -> list[int]:
        """Volumes that the model does not make: b0s and passed shells."""
        return sorted([*self.b0, *(i for shell in self.passed for i in shell.indices)])

    @property
    def groups(self) -> dict[str, list[int]]:
        """Volumes of b0 and of every shell, by name."""
        shells = sorted([*self.translated, *self.passed], key=lambda shell: shell.bval)
        return {"b0": list(self.b0)} | {s.name: list(s.indices) for s in shells}

    def gigabytes(self, n_arrays: float, out: bool = False) -> float:
        """Size in GiB of so many float32 values for every mask voxel of a grid."""
        voxels = math.prod((self.grid_out if out else self.grid).shape) * BRAIN_SHARE
        return n_arrays * voxels * 4 / 2**30

    @property
    def image_gigabytes(self) -> float:
        """Size in GiB of one volume of the output as float32."""
        return math.prod(self.grid_out.shape) * 4 / 2**30


def model_settings(model: str = "default", **choices: Any) -> tuple[Settings, dict[str, Any]]:
    """Settings for a model, which is checked, and what its config says.

    Parameters
    ----------
    model : str
        Name of a model that ships, or a model's folder.
    **choices
        Fields of :class:`dmri7t.settings.Settings`; None and what is not named are the model's
        own or the default.

    Raises
    ------
    InputError
        If the model is not there, cannot be read, or is not what its checksums say.
    """
    folder = resolve_model(model)
    checksum = model_checksum(folder)
    config = read_config(folder)
    own = {
        "sampler_steps": config["sampler"]["steps"],
        "samples": config["sampler"]["samples"],
        "bval_range": tuple(config.get("ranges", {}).get("bval", ())),
    }
    settings = Settings(
        model=str(folder),
        model_name=config["name"],
        model_form=config["form"],
        model_version=config["version"],
        model_sha256=checksum,
        **own | {name: value for name, value in choices.items() if value is not None},
    )
    return settings, config


def output_grid(grid: Grid, resolution: str | tuple[float, ...]) -> Grid:
    """Grid of the output, as the settings ask for it.

    Examples
    --------
    >>> import numpy as np
    >>> grid = Grid((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
    >>> output_grid(grid, "auto").voxel_sizes.round(3).tolist()
    [1.68, 1.68, 1.68]
    >>> output_grid(grid, "native") is grid
    True
    >>> output_grid(grid, (1.0,)).shape
    (20, 20, 20)
    """
    if resolution == "native":
        return grid
    if resolution == "auto":
        return refine(grid, default_output_voxel(grid))
    return refine(grid, resolution[0] if len(resolution) == 1 else list(resolution))


def plan_scan(scan: Any, settings: Settings) -> ScanPlan:
    """Plan a scan that lies on disk: its header and its gradients are read, nothing more.

    Parameters
    ----------
    scan : Scan
        See :class:`dmri7t.io.inputs.Scan`.
    settings : Settings

    Raises
    ------
    InputError
        If no shell is left for the model, or the settings do not go with the scan.
    """
    import nibabel

    from dmri7t.io.derivatives import qsiprep_space
    from dmri7t.io.gradients import read_table
    from dmri7t.io.images import repetition_time

    if settings.output_layout == "qsiprep":
        qsiprep_space(scan)
    if settings.denoise or settings.gibbs:
        _check_raw(scan)
    image = nibabel.load(scan.dwi)
    optional = [name for name in ("grad_b", "mask") if getattr(scan, name, None)]
    anatomy = getattr(scan, "anatomy", None)
    return plan_series(
        scan.stem,
        Grid(image.shape, image.affine),
        read_table(scan.bval, scan.bvec, image.affine, getattr(scan, "grad_b", None)),
        settings,
        optional=tuple(optional),
        repetition_time=repetition_time(image),
        slice_axis=_slice_axis(scan.sidecar, image.header),
        source=str(scan.dwi),
        kind=getattr(scan, "kind", ""),
        tissues=_tissues(anatomy) if anatomy else None,
    )


def _tissues(anatomy: Any) -> Tissues:
    needed = MIN_DICE if anatomy.same_space else MIN_DICE_NAMED
    return Tissues(anatomy.labels, anatomy.maker, anatomy.uri, needed)


def _check_raw(scan: Any) -> None:
    """Both corrections want the scan as it was acquired: on its grid, its noise not smoothed."""
    kind = getattr(scan, "kind", "raw")
    if kind != "raw":
        raise InputError(
            f"{scan.dwi}: comes from {'another program' if kind == 'derivative' else kind}, which "
            "resampled it; --denoise and --gibbs are for raw scans: leave them out."
        )


def _slice_axis(sidecar: dict[str, Any], header: Any) -> int:
    """Axis of the slices: by the sidecar, or by the header, or else the last."""
    name = str(sidecar.get("SliceEncodingDirection", ""))[:1]
    told = header.get_dim_info()[2]
    return "ijk".index(name) if name in ("i", "j", "k") else 2 if told is None else int(told)


def plan_series(
    stem: str,
    grid: Grid,
    table: GradientTable,
    settings: Settings,
    *,
    optional: tuple[str, ...] = (),
    repetition_time: float = 0.0,
    slice_axis: int = 2,
    source: str = "",
    kind: str = "",
    tissues: Tissues | None = None,
) -> ScanPlan:
    """Plan a scan that need not be there yet: an earlier node of the same workflow will make it.

    A shell goes through the model if it has directions enough and its b-value lies in the range
    of the model's training; where the settings name shells, those go through whatever the range
    is, and the others do not.

    Parameters
    ----------
    stem : str
        Source entities joined, such as ``sub-01_dir-AP``.
    grid : Grid
        Of the image that will come. An image on another grid fails when it does.
    table : GradientTable
        b-values of its volumes, in their order; directions are only counted.
    settings : Settings
    optional : tuple of str
        Which of ``grad_b`` and ``mask`` will come with it.
    repetition_time : float
        Seconds from volume to volume; 0: unknown.
    slice_axis : int
        Axis along which slices are acquired, 0 to 2.
    source : str
        What messages call the scan; default: its stem.
    kind : str
        What the source is, see :class:`dmri7t.io.inputs.Scan`; empty: unknown.
    tissues : Tissues, optional
        Of a segmentation that will come with it.

    Raises
    ------
    InputError
        If no shell is left for the model.
    """
    b0, shells = find_shells(table.bvals, settings.b0_threshold)
    directions = {s.name: _count(table, s) for s in shells}
    told = {s.name: why_passed(s, directions[s.name], settings) for s in shells}
    wanted = [s for s in shells if not told[s.name]]
    if not wanted:
        found = ", ".join(f"{name} ({why})" for name, why in told.items()) or "none"
        raise InputError(
            f"{source or stem}: no shell for the model; shells found: {found}. --shells sends a "
            "shell through the model whatever its b-value."
        )
    return ScanPlan(
        name=workflow_name(stem),
        stem=stem,
        grid=grid,
        grid_out=output_grid(grid, settings.output_resolution),
        n_volumes=len(table),
        b0=b0,
        translated=tuple(wanted),
        passed=tuple(s for s in shells if s not in wanted),
        tensor_volumes=_tensor_volumes(table, b0, shells),
        directions=directions,
        reasons={name: why for name, why in told.items() if why},
        optional=optional,
        repetition_time=repetition_time,
        kind=kind,
        tissues=tissues,
        slice_axis=slice_axis,
    )


def _count(table: GradientTable, *shells: ShellVolumes) -> int:
    """Different directions of some shells together."""
    rows = [i for shell in shells for i in shell.indices]
    return count_distinct(table.directions[rows]) if rows else 0


def why_passed(shell: ShellVolumes, directions: int, settings: Settings) -> str:
    """Say why a shell does not go through the model; empty if it does.

    Examples
    --------
    >>> settings = Settings("m", "m", "1", "ab", 5, 1, bval_range=(700, 2000))
    >>> why_passed(ShellVolumes(3000.0, tuple(range(30))), 30, settings)
    'outside the range of the model, b 700 to 2000 s/mm2'
    >>> why_passed(ShellVolumes(1000.0, tuple(range(30))), 30, settings)
    ''
    """
    if directions < MIN_DIRECTIONS:
        return f"{directions} different directions, {MIN_DIRECTIONS} are needed"
    if settings.shells:
        # give or take half of what parts shells
        asked = any(abs(shell.bval - bval) <= 50 for bval in settings.shells)
        return "" if asked else "not named by --shells"
    if settings.bval_range:
        low, high = settings.bval_range
        if not low * (1 - RANGE_SLACK) <= shell.bval <= high * (1 + RANGE_SLACK):
            return f"outside the range of the model, b {low:.4g} to {high:.4g} s/mm2"
    return ""


def _tensor_volumes(
    table: GradientTable, b0: tuple[int, ...], shells: list[ShellVolumes]
) -> list[int]:
    low = [s for s in shells if s.bval <= TENSOR_BVAL_LIMIT]
    if _count(table, *low) < MIN_DIRECTIONS:
        low = next([s] for s in shells if _count(table, s) >= MIN_DIRECTIONS)
    return sorted([*b0, *(i for shell in low for i in shell.indices)])


def workflow_name(stem: str) -> str:
    """Name of a scan's workflow: letters, digits and underscores.

    Examples
    --------
    >>> workflow_name("sub-01_ses-a_dir-AP")
    'ses_a_dir_AP_wf'
    >>> workflow_name("sub-01")
    'dwi_wf'
    """
    rest = [part for part in Path(stem).name.split("_") if not part.startswith("sub-")]
    kept = "".join(c if c.isalnum() else "_" for c in "_".join(rest))
    return f"{kept}_wf" if kept else "dwi_wf"
