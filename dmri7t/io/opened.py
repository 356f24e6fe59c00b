"""An opened scan: its volumes are mapped, and read as rows of brain voxels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

import attrs
import nibabel
import numpy as np
import torch

from dmri7t.errors import InputError
from dmri7t.files import scratch_folder
from dmri7t.io.arriving import Arriving
from dmri7t.io.checks import check_scan
from dmri7t.io.gradients import read_bvals, read_table
from dmri7t.io.images import open_arriving, volumes_end
from dmri7t.io.maps import load_mask
from dmri7t.io.orientation import Turn, turn_to
from dmri7t.io.scan import Scan, ScanFiles
from dmri7t.io.volumes import used_volumes
from dmri7t.signal.gradients import (
    B0_THRESHOLD,
    MIN_DIRECTIONS,
    GradientTable,
    ShellVolumes,
    count_distinct,
    find_shells,
)
from dmri7t.signal.grids import Grid
from dmri7t.signal.prepare import find_brain, mask_volumes, mean_volume
from dmri7t.signal.shell import Brain, ShellSignal


@attrs.frozen(eq=False)
class OpenScan:
    """A scan whose volumes are mapped, not read; open as long as :func:`open_scan` holds it.

    Parameters
    ----------
    files : ScanFiles
    image : Nifti1Image
        As it lies on disk.
    grid : Grid
        Of the volumes; the image's, or that after ``turn``.
    b0_indices : tuple of int
        Volumes without diffusion weighting.
    shells : list of ShellVolumes
    turn : Turn, optional
        Turns the axes of volumes and mask.
    kept : tuple of int, optional
        Volumes of the image that are used; the scan has these alone, numbered from 0. Default: all.
    arriving : Arriving, optional
        What decompresses the image; volumes are waited for. Default: all of them are there.
    """

    files: ScanFiles
    image: nibabel.Nifti1Image
    grid: Grid
    b0_indices: tuple[int, ...]
    shells: list[ShellVolumes]
    turn: Turn | None = None
    kept: tuple[int, ...] | None = None
    arriving: Arriving | None = None

    @property
    def n_b0(self) -> int:
        """How many volumes have no diffusion weighting."""
        return len(self.b0_indices)

    @property
    def n_volumes(self) -> int:
        """How many volumes there are, N."""
        return self.image.shape[3] if self.kept is None else len(self.kept)

    @cached_property
    def table(self) -> GradientTable:
        """Gradients of the N volumes, in the scanner's frame.

        Raises
        ------
        InputError
            If the files are not readable, or do not fit together.
        """
        bval, bvec, grad_b = self.files.bval, self.files.bvec, self.files.grad_b
        if bvec is None:
            raise InputError(f"{self.files.dwi}: has no bvec file; give one.")
        table = read_table(bval, bvec, self.image.affine, grad_b)
        return table if self.kept is None else table.take(self.kept)

    @cached_property
    def b0(self) -> np.ndarray:
        """Mean of the b0s (X, Y, Z) float32; what is not finite or negative counts as zero."""
        return mean_volume(self.volume, self.b0_indices)

    @cached_property
    def brain(self) -> Brain:
        """Brain where the b0 has signal: its mask came with the scan, or is found here.

        Raises
        ------
        InputError
            If there is none, or it does not fit; the message names the file.
        """
        b0 = self.b0
        given = None if self.files.mask is None else load_mask(self.files.mask)[0]
        if given is not None and self.turn is not None:
            given = self.turn.volume(given)
        try:
            mask = find_brain(b0, self.grid.voxel_sizes, given)
        except InputError as error:
            raise InputError(f"{self.files.mask or self.files.dwi}: {error}") from error
        return Brain(mask, self.grid)

    def volume(self, index: int) -> np.ndarray:
        """Read a volume (X, Y, Z), in the image's own type."""
        on_disk = index if self.kept is None else self.kept[index]
        if self.arriving is not None:
            self.arriving.wait(volumes_end(self.image, on_disk + 1))
        volume = np.asarray(self.image.dataobj[..., on_disk])
        return volume if self.turn is None else self.turn.volume(volume)

    def measured(self, volumes: ShellVolumes, brain: Brain | None = None) -> ShellSignal:
        """Read the volumes of one shell.

        Parameters
        ----------
        volumes : ShellVolumes
        brain : Brain, optional
            Whose voxels are read; by default those of this scan's own.
        """
        brain = self.brain if brain is None else brain
        directions_N3 = self.table.directions[list(volumes.indices)]
        few = count_distinct(directions_N3) <= MIN_DIRECTIONS
        return ShellSignal(
            signal_NV=self.read(volumes.indices, brain),
            b0_V=torch.from_numpy(self.b0[brain.mask]),
            directions_N3=directions_N3,
            bval=volumes.bval,
            n_b0=self.n_b0,
            brain=brain,
            b0s_MV=self.read(self.b0_indices, brain) if few and self.n_b0 > 1 else None,
        )

    def read(self, indices: Sequence[int], brain: Brain | None = None) -> torch.Tensor:
        """Read some volumes as rows (N, V) float32; what is not finite or negative is zero.

        Parameters
        ----------
        indices : sequence of int
        brain : Brain, optional
            Whose V voxels are read; by default this scan's own.
        """
        brain = self.brain if brain is None else brain
        signal_NV = np.empty((len(indices), brain.n_voxels), np.float32)
        mask_volumes(lambda row: self.volume(indices[row]), brain.mask, signal_NV)
        return torch.from_numpy(signal_NV)

    def read_into(self, out_NV: np.ndarray, threads: int = 1) -> dict[str, int]:
        """Read the brain voxels of all volumes into the rows of an array.

        Parameters
        ----------
        out_NV : ndarray (N, V)
        threads : int
            That read.

        Returns
        -------
        dict
            How many values were ``nonfinite`` or ``negative`` and set to zero.
        """
        return mask_volumes(self.volume, self.brain.mask, out_NV, threads)


@contextmanager
def open_scan(
    files: ScanFiles,
    b0_threshold: float = B0_THRESHOLD,
    axes: tuple[str, str, str] | None = None,
    scratch: Path | str | None = None,
    kept: Sequence[int] | None = None,
) -> Iterator[OpenScan]:
    """Open a scan and part its volumes by b-value. Gradients, b0 and mask are read when asked for.

    A compressed image is decompressed beside whoever reads its first volumes.

    Parameters
    ----------
    files : ScanFiles
        :func:`dmri7t.io.checks.check_scan` tells whether they fit together.
    b0_threshold : float
        Volumes up to this b-value (s/mm2) are b0.
    axes : tuple of str, optional
        Turn volumes and mask so that the axes point there as nearly as can be, such as
        ``("R", "A", "S")``. By default they stay.
    scratch : path, optional
        Folder for the decompressed image; by default that of the system. It is removed in the end.
    kept : sequence of int, optional
        Volumes of the image that are used; by default all.

    Raises
    ------
    InputError
        If the image or the b-values cannot be read, or are not as many. What is wrong with the
        end of a compressed image shows where that is read, or when the scan is closed.
    Dmri7tError
        If there is no room for the decompressed image.
    """
    with ExitStack() as closing:
        folder = closing.enter_context(scratch_folder(scratch))
        image, arriving = open_arriving(files.dwi, folder)
        if arriving is not None:
            closing.callback(arriving.stop)
        bvals = read_bvals(files.bval)
        if image.shape[3:] != (len(bvals),):
            raise InputError(
                f"{files.bval}: {len(bvals)} entries but {files.dwi.name} has "
                f"{math.prod(image.shape[3:])} volumes; find the file that belongs to the image."
            )
        grid = Grid(image.shape, image.affine)
        turn = None if axes is None else turn_to(grid, axes)
        rows = None if kept is None else tuple(kept)
        b0_indices, shells = find_shells(bvals if rows is None else bvals[list(rows)], b0_threshold)
        grid = grid if turn is None else turn.grid
        yield OpenScan(files, image, grid, b0_indices, shells, turn, rows, arriving)
        if arriving is not None:
            arriving.finish()
            arriving.wait(volumes_end(image, len(bvals)))


@contextmanager
def open_checked(scan: Scan, axes: tuple[str, str, str] | None = None) -> Iterator[OpenScan]:
    """Check a scan of a data set, and open it without the volumes that are left out of it.

    Parameters
    ----------
    scan : Scan
    axes : tuple of str, optional
        See :func:`open_scan`.

    Raises
    ------
    InputError
        If it cannot be used.
    """
    check_scan(scan)
    if scan.parts:
        raise InputError(
            f"{scan.dwi}: is joined from {len(scan.parts)} series, and one is needed here; give "
            "each for itself."
        )
    kept = used_volumes(scan)[0] if scan.excluded else None
    with open_scan(scan.files, axes=axes, kept=kept) as opened:
        yield opened
