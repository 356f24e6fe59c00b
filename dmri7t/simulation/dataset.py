"""A data set of simulated pairs, BIDS or HCP's folders: the same brains at 3T and at 7T."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import attrs
import numpy as np
import torch

from dmri7t import __version__
from dmri7t.files import write_whole
from dmri7t.io.gradients import write_fsl
from dmri7t.io.images import write_volumes
from dmri7t.io.kinds.hcp import FILES, FOLDERS
from dmri7t.progress import Progress
from dmri7t.signal.gradients import GradientTable
from dmri7t.signal.grids import Grid, refine
from dmri7t.signal.harmonics import basis_matrix, n_coefficients
from dmri7t.simulation.acquisition import Protocol, centred_axes, render, signal_order
from dmri7t.simulation.anatomy import HALF_EXTENT
from dmri7t.simulation.fields import Axes, SmoothField
from dmri7t.simulation.head import Head
from dmri7t.simulation.scanner import Scanner, add_noise
from dmri7t.simulation.subjects import dataset_heads

BLOCK_MM = 40.0
"""Edge of the blocks that a head is rendered in."""

HEAD_MM = 20.0
"""Blocks that lie further than this outside the brain are air."""

HCP_B0 = {3: (5.0, 5.0), 7: (55.0, 65.0)}
"""Between which b-values HCP's b0s lie, s/mm2: imaging gradients count at 7 T."""

HCP_SCATTER = 20
"""How far b-values of one of HCP's shells lie from its nominal one, at most."""


@attrs.frozen
class Layout:
    """What every subject of a data set shares.

    Parameters
    ----------
    voxel_size, voxel_size_7t : float
        mm.
    shells : tuple of float
        b-values, s/mm2.
    n_directions : int
        Of each shell.
    n_b0 : int
    snr, snr_7t : float
        Of the b0 in white matter.
    scale : float
        Of the head; less than one for a small data set.
    fields : tuple of int
        Field strengths that are written, in tesla.
    folders : str
        "bids", or "hcp" as the Human Connectome Project lays them out.
    """

    voxel_size: float = 1.25
    voxel_size_7t: float = 1.05
    shells: tuple[float, ...] = (1000.0,)
    n_directions: int = 64
    n_b0: int = 6
    snr: float = 20.0
    snr_7t: float = 22.0
    scale: float = 1.0
    fields: tuple[int, ...] = (3, 7)
    folders: str = "bids"

    def label(self, head: int) -> str:
        """Participant's label of a head, by its seed."""
        return f"{head:06d}" if self.folders == "hcp" else f"sim{head:06d}"

    def last_file(self, out: Path, label: str) -> Path:
        """What is written last of a subject."""
        if self.folders == "hcp":
            return out / label / FOLDERS[f"{self.fields[-1]}T"] / FILES["mask"]
        session = f"ses-{self.fields[-1]}T"
        return out / f"sub-{label}" / session / "dwi" / f"sub-{label}_{session}_dwi.json"


def real_directions(n: int) -> np.ndarray:
    """Directions (n, 3): the first of a Siemens 64-direction table that DIPY carries.

    Beyond 64 they are spread by electrostatic repulsion.
    """
    from dipy.data import get_fnames

    from dmri7t.simulation.acquisition import spread_directions

    if n > 64:
        return spread_directions(n)
    _, _, bvecs = get_fnames(name="small_64D")
    table = np.loadtxt(bvecs) if str(bvecs).endswith("bvec") else np.load(bvecs)
    table = table if table.shape[1] == 3 else table.T
    table = table[np.linalg.norm(table, axis=1) > 0.5]
    # every k-th one keeps a subset spread over the sphere
    chosen = np.linspace(0, len(table) - 1, n).round().astype(int)
    return table[chosen] / np.linalg.norm(table[chosen], axis=1, keepdims=True)


def head_grids(layout: Layout) -> tuple[Grid, Grid]:
    """Grids of the 3T and 7T scans, centred on the brain."""
    half = HALF_EXTENT * layout.scale
    shape = np.ceil(2 * half / layout.voxel_size).astype(int)
    affine = np.diag([layout.voxel_size] * 3 + [1.0])
    affine[:3, 3] = -(shape - 1) / 2 * layout.voxel_size
    low = Grid(tuple(shape), affine)
    return low, refine(low, layout.voxel_size_7t)


def _pieces(axis: np.ndarray) -> dict[float, np.ndarray]:
    """Split coordinates at multiples of the block's edge: arrays of indices, by block."""
    blocks = np.floor(axis / BLOCK_MM)
    return {float(block): np.flatnonzero(blocks == block) for block in np.unique(blocks)}


def _blocks(low: Axes, high: Axes) -> Iterator[tuple[list[np.ndarray], list[np.ndarray]]]:
    """Indices of the low and high voxels of every block, axis by axis."""
    pairs = []
    for a in range(3):
        pieces_low, pieces_high = _pieces(low[a]), _pieces(high[a])
        both = [block for block in pieces_low if block in pieces_high]
        pairs.append([(pieces_low[block], pieces_high[block]) for block in both])
    for triple in product(*pairs):
        yield [at_low for at_low, _ in triple], [at_high for _, at_high in triple]


def _within(indices: list[np.ndarray]) -> tuple[slice, slice, slice]:
    """Box of neighbouring voxels by their indices along each axis."""
    x, y, z = (slice(int(i[0]), int(i[-1]) + 1) for i in indices)
    return x, y, z


def render_head(
    head: Head, protocol: Protocol, low: Grid, high: Grid
) -> tuple[torch.Tensor, torch.Tensor]:
    """Render one shell of a whole head without noise.

    Returns
    -------
    low, high : Tensor (1 + C, X, Y, Z)
        b0 and harmonics of the shell at both fields.
    """
    order = signal_order(protocol.bval)
    axes_low, axes_high = centred_axes(low), centred_axes(high)
    out_low = torch.zeros(1 + n_coefficients(order), *low.shape)
    out_high = torch.zeros(1 + n_coefficients(order), *high.shape)
    for at_low, at_high in _blocks(axes_low, axes_high):
        part_low = tuple(axes_low[a][at_low[a]] for a in range(3))
        part_high = tuple(axes_high[a][at_high[a]] for a in range(3))
        if float(head.phantom.depth(part_low).max()) < -HEAD_MM:
            continue
        block = render(head, protocol, part_low, part_high, order_high=order)
        out_low[(slice(None), *_within(at_low))] = block.low
        out_high[(slice(None), *_within(at_high))] = block.high
    return out_low, out_high


@attrs.frozen(eq=False)
class HeadScan:
    """What one scanner does with a whole head.

    Parameters
    ----------
    rendered : list of Tensor (1 + C, X, Y, Z)
        b0 and harmonics of each shell, without noise.
    grid : Grid
    scanner : Scanner
    table : GradientTable
        b0s first, then the shells, each with the same directions.
    """

    rendered: list[torch.Tensor]
    grid: Grid
    scanner: Scanner
    table: GradientTable

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the scan, (X, Y, Z, N)."""
        return (*self.grid.shape, len(self.table))

    def volumes(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield the noisy volumes (X, Y, Z), with receive profile and drift."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        field = SmoothField.draw(rng, 60.0, HALF_EXTENT, 1)
        profile, scanner = torch.exp(0.25 * field.at(centred_axes(self.grid))[0]), self.scanner

        def noisy(clean: torch.Tensor) -> np.ndarray:
            drift = 1 + scanner.drift * float(torch.randn((), generator=generator))
            clean = (clean.clamp_min(0) * profile * drift)[None]
            return 1000 * add_noise(clean, scanner.sigma(), generator)[0].numpy()

        n_b0 = int((self.table.bvals == 0).sum())
        n_directions = (len(self.table) - n_b0) // len(self.rendered)
        directions_N3 = self.table.directions[n_b0 : n_b0 + n_directions]
        for _ in range(n_b0):
            yield noisy(self.rendered[0][0])
        for shell in self.rendered:
            order = {28: 6, 45: 8}[len(shell) - 1]
            basis_NC = torch.from_numpy(basis_matrix(directions_N3, order)).float()
            for row_C in basis_NC:
                yield noisy(torch.einsum("c,cxyz->xyz", row_C, shell[1:]))


def _write_bids(stem: Path, scan: HeadScan, rng: np.random.Generator) -> None:
    affine, scanner = scan.grid.affine, scan.scanner
    image, bval, bvec, json_file = (
        stem.with_name(stem.name + ending) for ending in (".nii.gz", ".bval", ".bvec", ".json")
    )
    write_volumes(image, scan.volumes(rng), scan.shape, affine)
    write_fsl(scan.table, affine, bval, bvec)
    sidecar = {
        "MagneticFieldStrength": scanner.tesla,
        "EchoTime": scanner.echo_time,
        "RepetitionTime": scanner.repetition_time,
        "Manufacturer": "dmri7t simulator",
        "SimulatedBrain": True,
    }
    write_whole(json_file, json.dumps(sidecar, indent=2) + "\n")


def _write_hcp(
    folder: Path, scan: HeadScan, inside_XYZ: np.ndarray, rng: np.random.Generator
) -> None:
    """Write one field's folder, with b-values that scatter as HCP's do."""
    affine, table = scan.grid.affine, scan.table
    steps = HCP_SCATTER // 5
    scatter = 5 * rng.integers(-steps, steps + 1, len(table))
    low, high = HCP_B0[scan.scanner.tesla]
    b0_bvals = rng.uniform(low, high, len(table)).round()
    stated = np.where(table.bvals == 0, b0_bvals, table.bvals + scatter)
    write_volumes(folder / FILES["dwi"], scan.volumes(rng), scan.shape, affine)
    write_fsl(
        GradientTable(stated, table.directions),
        affine,
        folder / FILES["bval"],
        folder / FILES["bvec"],
    )
    mask = inside_XYZ.astype(np.uint8)
    write_volumes(folder / FILES["mask"], [mask], scan.grid.shape, affine, dtype=np.uint8)


def simulate_subject(out: Path, label: str, seed: int, layout: Layout) -> None:
    """Write the scans of one subject.

    Parameters
    ----------
    out : Path
        Root of the data set.
    label : str
        Participant's label.
    seed : int
        Same seed, same scans.
    layout : Layout
    """
    from dmri7t.simulation.acquisition import hcp_protocol

    rng = np.random.default_rng([seed, 7])
    head = Head.draw(rng, layout.scale)
    drawn = hcp_protocol(rng)
    protocol = attrs.evolve(
        drawn,
        low=attrs.evolve(drawn.low, snr=layout.snr),
        high=attrs.evolve(drawn.high, snr=layout.snr_7t),
        voxel_sizes=np.full(3, layout.voxel_size),
        ratio=layout.voxel_size_7t / layout.voxel_size,
    )
    low, high = head_grids(layout)
    directions = real_directions(layout.n_directions)
    shells = [render_head(head, attrs.evolve(protocol, bval=b), low, high) for b in layout.shells]
    bvals = np.concatenate([[0.0] * layout.n_b0, *([b] * len(directions) for b in layout.shells)])
    vectors = np.concatenate([np.zeros((layout.n_b0, 3)), *[directions] * len(layout.shells)])
    table = GradientTable(bvals, vectors)
    for field, grid, scanner in ((3, low, protocol.low), (7, high, protocol.high)):
        if field not in layout.fields:
            continue
        rendered = [pair[0 if field == 3 else 1] for pair in shells]
        scan = HeadScan(rendered, grid, scanner, table)
        if layout.folders == "hcp":
            inside = (head.phantom.depth(centred_axes(grid)) > 0).numpy()
            _write_hcp(out / label / FOLDERS[f"{field}T"], scan, inside, rng)
            continue
        session = f"ses-{field}T"
        stem = out / f"sub-{label}" / session / "dwi" / f"sub-{label}_{session}_dwi"
        _write_bids(stem, scan, rng)


def simulate_dataset(out: Path, subjects: int, seed: int = 0, layout: Layout | None = None) -> None:
    """Write a data set of simulated pairs; subjects already there are kept.

    Parameters
    ----------
    out : Path
    subjects : int
    seed : int
        Decides the heads; see :func:`dmri7t.simulation.subjects.dataset_heads`.
    layout : Layout, optional

    Raises
    ------
    InputError
        If one seed does not give so many.
    """
    heads = dataset_heads(seed).take(subjects)
    layout = Layout() if layout is None else layout
    out.mkdir(parents=True, exist_ok=True)
    if layout.folders == "bids":
        _describe_dataset(out)
    write_whole(out / "README", "Simulated heads; no person was scanned. Seed " + str(seed) + ".\n")
    progress = Progress("simulate", subjects)
    for number, head in enumerate(heads, start=1):
        label = layout.label(head)
        if not layout.last_file(out, label).exists():
            simulate_subject(out, label, head, layout)
        progress.show(number, f"{label} ({number} of {subjects})")


def _describe_dataset(out: Path) -> None:
    description = {
        "Name": "Simulated pairs of 3T and 7T diffusion scans",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": "dmri7t-model simulate", "Version": __version__}],
        "License": "CC0",
    }
    write_whole(out / "dataset_description.json", json.dumps(description, indent=2) + "\n")
