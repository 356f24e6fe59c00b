"""What must be known of a scan before its graph can be drawn: settings, shells, sizes, names."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import nibabel
import numpy as np

from dmri7t.errors import InputError
from dmri7t.io.checks import check_fineness
from dmri7t.io.derivatives import output_path, outputs_of, qsiprep_space
from dmri7t.io.images import load_image, repetition_time
from dmri7t.io.interpolation import describe_interpolation
from dmri7t.io.kinds.registry import kind_named
from dmri7t.io.scan import Scan
from dmri7t.io.source import scan_remarks
from dmri7t.io.volumes import kept_volumes, read_kept, used_volumes
from dmri7t.models.bundle import model_checksum, resolve_model
from dmri7t.models.config import ModelConfig, read_config
from dmri7t.settings import Settings
from dmri7t.signal.gradients import (
    TENSOR_BVAL_LIMIT,
    GradientTable,
    ShellVolumes,
    count_distinct,
    find_shells,
    tells_tensor,
    why_no_shell,
)
from dmri7t.signal.grids import Grid, default_output_voxel, refine

RANGE_SLACK = 0.02
"""b-values this little outside the model's range still go through it."""

BRAIN_SHARE = 0.45
"""Share of the image that a brain mask fills at most, for estimates of memory."""

ON_INPUT_GRID = 70
"""float32 values a voxel and shell that nodes leave on the input's grid beside volumes:
coefficients, RISH and noise (31), features and latents (30), decoded RISH (9)."""

ON_OUTPUT_GRID = 6
"""float32 values a voxel and shell on the output's grid: mean and spread of three orders."""

TENSORS = 6
"""float32 values a voxel of a tensor fit and its uncertainty."""

COMPRESSED = 0.9
"""Size of a compressed result over that of its values: noisy float32 hardly shrinks. Measured."""

NODE_NAME_LENGTH = 60
"""Longest name of a node or folder that is made of a label."""


@attrs.frozen(eq=False)
class ScanPlan:
    """A scan, its settings, and what both mean for its graph.

    Parameters
    ----------
    scan : Scan
        Its files need not be there yet: see :func:`plan_series`.
    settings : Settings
    grid, grid_out : Grid
        Of the input and of the output.
    n_volumes : int
    b0 : tuple of int
        b0 volumes.
    translated : tuple of ShellVolumes
        Shells that go through the model; none: the scan is interpolated, nothing else.
    passed : tuple of ShellVolumes
        Shells that are interpolated only.
    tensor_volumes : list of int
        Volumes of the tensor fit: b0s and shells up to 1500, or else the lowest shell with
        directions enough, or else all; none where all of them determine no tensor.
    directions : dict of int
        How many different directions each shell has, by name.
    reasons : dict of str
        Why each passed shell is interpolated only, by name.
    b0_bval : float
        Highest b-value of a b0 volume, s/mm2.
    repetition_time : float
        Seconds from volume to volume, as the header has it; 0: unknown.
    slice_axis : int
        Axis of the image along which slices were acquired.
    volumes : tuple of tuple of int
        Volumes on disk that are used, a tuple for every part of the scan; empty: all of one
        image.
    remarks : tuple of str
        What header and sidecar say that nobody would expect, for sidecars and reports.
    """

    scan: Scan
    settings: Settings
    grid: Grid
    grid_out: Grid
    n_volumes: int
    b0: tuple[int, ...]
    translated: tuple[ShellVolumes, ...]
    passed: tuple[ShellVolumes, ...]
    tensor_volumes: list[int]
    directions: dict[str, int]
    reasons: dict[str, str]
    b0_bval: float = 0.0
    repetition_time: float = 0.0
    slice_axis: int = 2
    volumes: tuple[tuple[int, ...], ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the scan's workflow."""
        return workflow_name(self.scan.stem)

    @property
    def files(self) -> dict[str, str | list[str]]:
        """The scan's files by the fields of its graph's ``inputnode``; only those that it has."""
        scan, files = self.scan, dict[str, str | list[str]]()
        for name in ("dwi", "bval", "bvec", "grad_b"):
            paths = [str(path) for part in scan.series if (path := getattr(part, name))]
            if paths:
                files[name] = paths if scan.parts else paths[0]
        if scan.mask:
            files["mask"] = str(scan.mask)
        if scan.anatomy:
            files["segmentation"] = [str(path) for path in scan.anatomy.files]
            files["anatomy_mask"] = str(scan.anatomy.mask)
        return files

    @property
    def absent(self) -> list[str]:
        """Files of :data:`dmri7t.interfaces.report.FILES` that its graph does not make."""
        of_shells = ["representations", "estimates", "generated", "novelty"]
        of_tensor = ["tensor_native", "tensor_generated"]
        return [
            *([] if self.translated else of_shells),
            *([] if self.tensor_volumes else of_tensor),
        ]

    @property
    def cleaned(self) -> bool:
        """Whether noise or ringing is taken out of the scan first."""
        return self.settings.denoise or self.settings.gibbs

    @property
    def names(self) -> dict[str, str]:
        """Name of every output within the derivative data set, by its key."""
        layout = self.settings.output_layout
        return {key: str(output_path(Path(), self.scan, key, layout)) for key in outputs_of(layout)}

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

    def work_gigabytes(self, fraction: float) -> float:
        """Room in GiB that the graph takes in the work folder.

        Parameters
        ----------
        fraction : float
            Part of the image that the brain fills.
        """
        inside, outside = (math.prod(grid.shape) for grid in (self.grid, self.grid_out))
        before = self.n_volumes + TENSORS
        before += (ON_INPUT_GRID + 6 * self.settings.samples) * len(self.translated)
        after = (1 + COMPRESSED) * self.n_volumes + TENSORS + ON_OUTPUT_GRID * len(self.translated)
        masked = fraction * (inside * before + outside * after)
        # b0 images and masks are whole volumes
        return (masked + 2 * (inside + outside)) * 4 / 2**30

    def result_gigabytes(self, fraction: float) -> float:
        """Room in GiB that the results take, where the brain fills this fraction of the image."""
        voxels = {"input": math.prod(self.grid.shape), "output": math.prod(self.grid_out.shape)}
        volumes = {"": 0, "one": 1, "shells": len(self.translated), "scan": self.n_volumes}
        rows = outputs_of(self.settings.output_layout).values()
        values = sum(voxels[row.grid] * volumes[row.volumes] for row in rows)
        return COMPRESSED * fraction * values * 4 / 2**30


def model_settings(model: str = "default", **choices: Any) -> tuple[Settings, ModelConfig]:
    """Settings for a model, which is checked, and its description.

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
    own: dict[str, Any] = {
        # a regression gives its one answer at once
        "sampler_steps": config.sampler.steps if config.sampler else 1,
        "samples": config.samples_taken,
        "bval_range": config.ranges["bval"],
    }
    asked = choices.get("samples")
    if choices.get("estimate") == "sample":
        if not config.sampler:
            raise InputError(
                f"--estimate sample: the model {config.name} draws no samples; choose a model "
                "with diffusion, or leave the option out."
            )
        own["samples"] = max(1, config.samples_taken)
    elif asked and not config.samples_taken:
        raise InputError(
            f"--samples {asked}: the result of the model {config.name} takes no samples; add "
            "--estimate sample, or leave the option out."
        )
    settings = Settings(
        model=str(folder),
        model_name=config.name,
        model_form=config.form,
        model_version=config.version,
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
    if isinstance(resolution, str):
        return refine(grid, default_output_voxel(grid))
    asked = refine(grid, np.array(resolution))
    check_fineness(resolution, asked.shape)
    return asked


def plan_scan(scan: Scan, settings: Settings) -> ScanPlan:
    """Plan a scan that lies on disk: its header and its gradients are read, nothing more.

    Parameters
    ----------
    scan : Scan
    settings : Settings

    Raises
    ------
    InputError
        If the scan has none of the shells that the settings name, or the settings do not go with
        the scan.
    """
    image = load_image(scan.dwi)
    return plan_series(
        scan,
        Grid(image.shape, image.affine),
        read_kept(scan, image.affine),
        settings,
        repetition_time=repetition_time(image),
        slice_axis=_slice_axis(scan.sidecar, image.header),
        volumes=used_volumes(scan),
        remarks=tuple(scan_remarks(scan)),
    )


def check_settings(scan: Scan, settings: Settings) -> None:
    """See that the settings go with a scan.

    Raises
    ------
    InputError
        If the output's layout has no name for its space, or noise and ringing are to be taken
        out of a scan that another program resampled.
    """
    if settings.output_layout == "qsiprep":
        qsiprep_space(scan)
    # both corrections want the scan as it was acquired: on its grid, its noise not smoothed
    if settings.denoise or settings.gibbs:
        kind_named(scan.kind).check_unsampled(scan.dwi)


def _slice_axis(sidecar: dict[str, Any], header: nibabel.Nifti1Header) -> int:
    """Axis of the slices: by the sidecar, or by the header, or else the last."""
    name = str(sidecar.get("SliceEncodingDirection", ""))[:1]
    if name in ("i", "j", "k"):
        return "ijk".index(name)
    axis = header.get_dim_info()[2]
    return 2 if axis is None else int(axis)


def plan_series(
    scan: Scan,
    grid: Grid,
    table: GradientTable,
    settings: Settings,
    *,
    repetition_time: float = 0.0,
    slice_axis: int = 2,
    volumes: tuple[tuple[int, ...], ...] = (),
    remarks: tuple[str, ...] = (),
) -> ScanPlan:
    """Plan a scan that need not be there yet: an earlier node of the same workflow will make it.

    A shell goes through the model if it has directions enough and its b-value lies in the range
    of the model's training; where the settings name shells, those go through whatever the range
    is, and the others do not. A scan without such a shell, a grid in q-space for example, is
    interpolated, and ``reasons`` of the plan say why.

    Parameters
    ----------
    scan : Scan
        What it will be. No file of it is read: ``mask``, ``grad_b`` and ``anatomy`` say which of
        them will come, ``entities`` name the results.
    grid : Grid
        Of the image that will come. An image on another grid fails when it does.
    table : GradientTable
        b-values of its volumes, in their order; directions are only counted.
    settings : Settings
    repetition_time : float
        Seconds from volume to volume; 0: unknown.
    slice_axis : int
        Axis along which slices are acquired, 0 to 2.
    volumes : tuple of tuple of int
        See :class:`ScanPlan`; by default those that ``scan.excluded`` leaves of one image.
    remarks : tuple of str
        See :class:`ScanPlan`.

    Raises
    ------
    InputError
        If the scan has none of the shells that the settings name, or the settings do not go with
        the scan.
    """
    check_settings(scan, settings)
    if settings.gibbs and (how := describe_interpolation(scan.sidecar, grid.shape)):
        raise InputError(
            f"{scan.dwi}: the scanner interpolated it ({how}), so its ringing is no more where "
            "--gibbs looks for it; leave --gibbs out."
        )
    b0, shells = find_shells(table.bvals, settings.b0_threshold)
    directions = {s.name: _count(table, s) for s in shells}
    reasons = {s.name: why_no_shell(table, s, shells) or why_passed(s, settings) for s in shells}
    translated = tuple(s for s in shells if not reasons[s.name])
    if settings.shells and not translated:
        raise InputError(
            f"{scan.dwi}: has no shell that --shells names; shells found: "
            f"{describe_reasons(reasons)}. Name one of them, or leave --shells out."
        )
    return ScanPlan(
        scan=scan,
        settings=settings,
        grid=grid,
        grid_out=output_grid(grid, settings.output_resolution),
        n_volumes=len(table),
        b0=b0,
        translated=translated,
        passed=tuple(s for s in shells if reasons[s.name]),
        tensor_volumes=_tensor_volumes(table, b0, shells),
        directions=directions,
        reasons={name: reason for name, reason in reasons.items() if reason},
        b0_bval=float(table.bvals[list(b0)].max(initial=0)),
        repetition_time=repetition_time,
        slice_axis=slice_axis,
        volumes=volumes or _volumes(scan, len(table)),
        remarks=remarks,
    )


def _volumes(scan: Scan, n_volumes: int) -> tuple[tuple[int, ...], ...]:
    """Volumes that are used of a series that is not there yet, by how many these are."""
    if not scan.excluded:
        return ()
    return (tuple(kept_volumes(scan, n_volumes + len(scan.excluded))),)


def _count(table: GradientTable, *shells: ShellVolumes) -> int:
    """Different directions of some shells together."""
    rows = [i for shell in shells for i in shell.indices]
    return count_distinct(table.directions[rows]) if rows else 0


def why_passed(shell: ShellVolumes, settings: Settings) -> str:
    """Say why a shell that can be fitted does not go through the model; empty if it does.

    Examples
    --------
    >>> settings = Settings("m", "m", "1", "ab", 5, 1, bval_range=(700, 2000))
    >>> why_passed(ShellVolumes(3000.0, tuple(range(30))), settings)
    'outside the range of the model, b 700 to 2000 s/mm2'
    >>> why_passed(ShellVolumes(1000.0, tuple(range(30))), settings)
    ''
    """
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
    def weighted(*some: ShellVolumes) -> list[int]:
        """Their volumes, without such of a low b-value that have no direction."""
        return [i for shell in some for i in shell.indices if table.directions[i].any()]

    sets = [weighted(*(s for s in shells if s.bval <= TENSOR_BVAL_LIMIT))]
    sets += [*(weighted(s) for s in shells), weighted(*shells)]
    rows = next((rows for rows in sets if tells_tensor(table.directions[rows])), [])
    return sorted([*b0, *rows]) if rows else []


def describe_reasons(reasons: Mapping[str, str]) -> str:
    """Shells and why the model does not translate them, those of one reason together.

    Examples
    --------
    >>> describe_reasons({"b200": "too low", "b400": "too low", "b5000": "too high"})
    'b200, b400 (too low); b5000 (too high)'
    """
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(own)} ({reason})" for reason, own in names.items()) or "none"


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
    kept = node_name("_".join(rest))
    return f"{kept}_wf" if kept else "dwi_wf"


def node_name(text: str) -> str:
    """Write letters and digits of ASCII as they are, all else as an underscore.

    The names of nodes are names of folders. Where they would be long, or a label holds what none
    should, some digits of a checksum keep them different.

    Examples
    --------
    >>> node_name("ses-a_dir-AP"), len(node_name(225 * "x"))
    ('ses_a_dir_AP', 69)
    >>> node_name("é") == node_name("ü")
    False
    """
    kept = "".join(c if c.isascii() and c.isalnum() else "_" for c in text)
    plain = all(c.isascii() and (c.isalnum() or c in "-_") for c in text)
    if plain and len(kept) <= NODE_NAME_LENGTH:
        return kept
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{kept[:NODE_NAME_LENGTH]}_{digest}"
