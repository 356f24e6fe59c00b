"""A scan of those volumes that are used, of one series or of several parts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import attrs
import nibabel
import numpy as np
from nipype.interfaces.base import File, InputMultiPath, TraitedSpec, traits

from dmri7t.errors import InputError
from dmri7t.interfaces.base import StageInputSpec, StageInterface, optional
from dmri7t.io.scan import ScanFiles
from dmri7t.signal.gradients import GradientTable


class AssembleScanInputSpec(StageInputSpec):
    """Inputs of :class:`AssembleScan`; files of parts are in the order of the parts."""

    dwi = InputMultiPath(File(exists=True), mandatory=True, desc="4D images, one a part")
    bval = InputMultiPath(File(exists=True), mandatory=True, desc="b-values")
    bvec = InputMultiPath(
        File(exists=True), mandatory=True, desc="gradient vectors, FSL's convention"
    )
    grad_b = InputMultiPath(File(exists=True), desc="gradients in the scanner frame (MRtrix)")
    mask = File(exists=True, desc="brain mask; default: one is found, where parts are joined")
    volumes = traits.List(
        traits.List(traits.Int), mandatory=True, desc="volumes of each part that are used, in order"
    )
    sources = traits.List(traits.Str, usedefault=True, desc="BIDS URIs of the parts")
    b0_threshold = traits.Float(mandatory=True, desc="b-values up to this one are b0, s/mm2")


class AssembleScanOutputSpec(TraitedSpec):
    """Outputs of :class:`AssembleScan`."""

    dwi = File(exists=True, desc="4D image, float32, uncompressed")
    bval = File(exists=True, desc="b-values")
    bvec = File(exists=True, desc="gradient vectors, FSL's convention")
    grad_b = File(exists=True, desc="gradients in the scanner frame, of these volumes")
    joined = File(exists=True, desc="volumes and scale of every part, .json")


@attrs.frozen(eq=False)
class _Part:
    """A part of a scan: its files, the volumes that are used, and where they come to lie."""

    files: ScanFiles
    kept: list[int]
    rows: slice

    def table(self, affine: np.ndarray) -> GradientTable:
        """Gradients of the volumes that are used."""
        from dmri7t.io.gradients import read_table

        files = self.files
        assert files.bvec is not None
        return read_table(files.bval, files.bvec, affine, files.grad_b).take(self.kept)

    def read_into(self, values: np.ndarray | None, n: int, folder: str) -> tuple[Any, np.ndarray]:
        """Read its volumes into an array (X, Y, Z, n), a new one if there is none."""
        from dmri7t.files import scratch_folder
        from dmri7t.io.images import open_volumes

        with scratch_folder(folder) as scratch:
            image = open_volumes(self.files.dwi, scratch)
            if values is None:
                values = np.empty((*image.shape[:3], n), np.float32, order="F")
            if image.shape[:3] != values.shape[:3]:
                raise InputError(
                    f"{self.files.dwi}: lies on another grid than the first part; give "
                    "--separate-all-dwis"
                )
            for row, index in zip(range(n)[self.rows], self.kept, strict=True):
                values[..., row] = np.asarray(image.dataobj[..., index])
        return image, values


class AssembleScan(StageInterface):
    """Join the parts of a scan, and leave volumes out, their gradients with them.

    The volumes of every part are multiplied so that the median of its mean b0 in the brain is that
    of the first.
    """

    input_spec = AssembleScanInputSpec
    output_spec = AssembleScanOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        from dmri7t.io.gradients import write_fsl, write_mrtrix
        from dmri7t.io.images import save_series

        parts = list(self._parts())
        n = sum(len(part.kept) for part in parts)
        first, values = parts[0].read_into(None, n, runtime.cwd)
        for part in parts[1:]:
            part.read_into(values, n, runtime.cwd)
        tables = [part.table(first.affine) for part in parts]
        scales = self._scale(first, values, parts, tables) if len(parts) > 1 else [1.0]
        table = GradientTable(
            np.concatenate([each.bvals for each in tables]),
            np.concatenate([each.directions for each in tables]),
        )
        names = {
            "dwi": "dwi.nii",
            "bval": "dwi.bval",
            "bvec": "dwi.bvec",
            "grad_b": "dwi.b",
            "joined": "joined.json",
        }
        out = {field: os.path.join(runtime.cwd, name) for field, name in names.items()}
        save_series(out["dwi"], values, first)
        write_fsl(table, first.affine, out["bval"], out["bvec"])
        write_mrtrix(table, out["grad_b"])
        sources = list(self.inputs.sources) or [str(part.files.dwi) for part in parts]
        record = [
            {"source": source, "volumes": len(part.kept), "scale": scale}
            for source, part, scale in zip(sources, parts, scales, strict=True)
        ]
        with open(out["joined"], "w") as file:
            json.dump(record, file)
        self._results = out
        return runtime

    def _parts(self) -> Iterator[_Part]:
        inputs, start = self.inputs, 0
        tables = optional(inputs.grad_b) or [None] * len(inputs.dwi)
        for dwi, bval, bvec, grad_b, kept in zip(
            inputs.dwi, inputs.bval, inputs.bvec, tables, inputs.volumes, strict=True
        ):
            rows = slice(start, start + len(kept))
            yield _Part(ScanFiles(dwi, bval, bvec, grad_b), list(kept), rows)
            start = rows.stop

    def _scale(
        self,
        image: nibabel.Nifti1Image,
        values: np.ndarray,
        parts: list[_Part],
        tables: list[GradientTable],
    ) -> list[float]:
        """Bring all parts to the scale of the first; say by what each was multiplied."""
        from dmri7t.io.maps import load_mask
        from dmri7t.signal.gradients import find_shells
        from dmri7t.signal.grids import Grid
        from dmri7t.signal.prepare import find_brain, mean_volume, scales_to_first

        b0s = []
        for part, table in zip(parts, tables, strict=True):
            own = values[..., part.rows]
            rows = find_shells(table.bvals, self.inputs.b0_threshold)[0]
            if not rows:
                raise InputError(
                    f"{part.files.bval}: no b0 volume, by which this part could be brought to the "
                    "scale of the others; give --separate-all-dwis"
                )
            # its last axis first: one volume by its number
            b0s.append(mean_volume(np.moveaxis(own, -1, 0).__getitem__, rows))
        mask = optional(self.inputs.mask)
        given = load_mask(mask)[0] if mask else None
        sizes = Grid(image.shape, image.affine).voxel_sizes
        try:
            scales = scales_to_first(b0s, find_brain(b0s[0], sizes, given))
        except InputError as error:
            raise InputError(f"{parts[0].files.dwi}: {error}") from error
        for part, scale in zip(parts, scales, strict=True):
            if scale != 1:
                values[..., part.rows] *= np.float32(scale)
        return scales
