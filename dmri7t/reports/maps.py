"""The maps that a page shows: in which files they lie, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from dmri7t.io.arrays import load_meta

MOST_AVERAGED = 32
"""Volumes of a shell that its mean is taken over: more cost reading and look the same."""


@attrs.frozen
class MapFile:
    """Where the values of one map lie.

    Parameters
    ----------
    path : Path
        .nii or .nii.gz on the grid of the mask; or .npy or .safetensors, which hold the values
        of the mask's voxels in C order.
    field : str
        Name of the tensor in a .safetensors file: (V,), (rows, V), or (V, 3) for directions.
    row : int or tuple of int, optional
        Volume of a 4D image, or row of an array; of several, their mean.
    noise : str
        Name of a tensor of the same shape that is taken off, what is negative then being zero.
    """

    path: Path
    field: str = ""
    row: int | tuple[int, ...] | None = None
    noise: str = ""


@attrs.frozen
class SignalRows:
    """The signals of one shell: volumes of a (volumes, voxels) .npy, and which one is shown.

    Parameters
    ----------
    path : Path
    rows : tuple of int
    bval : float
        s/mm2.
    """

    path: Path
    rows: tuple[int, ...]
    bval: float

    @property
    def mean(self) -> MapFile:
        """Mean of at most :data:`MOST_AVERAGED` of its volumes, evenly chosen."""
        step = -(-len(self.rows) // MOST_AVERAGED)
        return MapFile(self.path, row=self.rows[::step])

    @property
    def chosen(self) -> int:
        """The volume that stands for all of them: the one in the middle."""
        return self.rows[len(self.rows) // 2]

    @property
    def volume(self) -> MapFile:
        """The volume that stands for all."""
        return MapFile(self.path, row=self.chosen)


@attrs.frozen
class ScanMaps:
    """Maps of one scan on one grid, before or after.

    Parameters
    ----------
    mask : Path
        Brain mask, NIfTI; its grid is the grid of all maps.
    b0 : MapFile
        Mean b0.
    rish : tuple of tuple of MapFile
        R0, R2, R4 of every shell that went through the model.
    fa, md, direction : MapFile, optional
        Fractional anisotropy, mean diffusivity in mm2/s, and the unit principal direction in the
        scanner frame (RAS+).
    signal : SignalRows, optional
        The shell of which a mean and a volume are shown.
    spread : tuple of tuple of MapFile
        Standard deviation of the error of the same features; empty for a shell without.
    fa_spread : MapFile, optional
        The same of FA; after only.
    cones : tuple of MapFile, optional
        Half the opening of the cone of the principal direction, degrees, for every shell; after
        only. None for a shell without.
    calibrated : bool
        Whether that was fitted where the truth is known; else it is of the samples.
    departure : tuple of tuple of MapFile
        Departures of the output from the input, in units of noise, of the orders that every
        shell has; on the input's grid, so before only.
    novelty : tuple of MapFile, optional
        Distance from the training data over the threshold, a map for every shell; before only.
        None for a shell where the model cannot tell.
    """

    mask: Path
    b0: MapFile
    rish: tuple[tuple[MapFile, ...], ...]
    fa: MapFile | None = None
    md: MapFile | None = None
    direction: MapFile | None = None
    signal: SignalRows | None = None
    fa_spread: MapFile | None = None
    cones: tuple[MapFile | None, ...] = ()
    spread: tuple[tuple[MapFile, ...], ...] = ()
    departure: tuple[tuple[MapFile, ...], ...] = ()
    novelty: tuple[MapFile | None, ...] = ()
    calibrated: bool = False


def input_maps(
    mask: Path,
    b0: Path,
    representations: Sequence[Path],
    tensor: Path | None,
    departures: Path | None = None,
    novelty: Sequence[Path] = (),
    signal: SignalRows | None = None,
) -> ScanMaps:
    """Maps of the input as the stages of the graph leave them.

    Parameters
    ----------
    mask, b0 : Path
        NIfTI.
    representations : sequence of Path
        .safetensors of every shell that went through the model, with ``rish`` and ``noise``, what
        noise adds to it on average.
    tensor : Path, optional
        .safetensors with ``fa``, ``md`` and ``direction``.
    departures : Path, optional
        .safetensors with a map (orders, V) for every shell, named by its index.
    novelty : sequence of Path
        .safetensors of the same shells: ``map``, or nothing where the model cannot tell.
    signal : SignalRows, optional
        The shell of which signals are shown.
    """
    return ScanMaps(
        mask=mask,
        b0=MapFile(b0),
        rish=tuple(_rows(path, "rish", noise="noise") for path in representations),
        fa=MapFile(tensor, "fa") if tensor else None,
        md=MapFile(tensor, "md") if tensor else None,
        direction=MapFile(tensor, "direction") if tensor else None,
        signal=signal,
        departure=_departures(departures) if departures else (),
        novelty=tuple(MapFile(path, "map") if load_meta(path) else None for path in novelty),
    )


def output_maps(
    mask: Path,
    b0: Path,
    generated: Sequence[Path],
    tensor: Path | None,
    fa_spread: Path | None = None,
    signal: SignalRows | None = None,
) -> ScanMaps:
    """Maps of the output as the stages of the graph leave them.

    Parameters
    ----------
    mask, b0 : Path
        NIfTI.
    generated : sequence of Path
        .safetensors of every shell that went through the model, with ``mean`` and ``sd``.
    tensor : Path, optional
        .safetensors with ``fa``, ``md`` and ``direction``.
    fa_spread : Path, optional
        .safetensors with ``fa_sd``.
    signal : SignalRows, optional
        The shell of which signals are shown.
    """
    records = [load_meta(path) for path in generated]
    return ScanMaps(
        mask=mask,
        b0=MapFile(b0),
        rish=tuple(_rows(path, "mean") for path in generated),
        fa=MapFile(tensor, "fa") if tensor else None,
        md=MapFile(tensor, "md") if tensor else None,
        direction=MapFile(tensor, "direction") if tensor else None,
        signal=signal,
        fa_spread=MapFile(fa_spread, "fa_sd") if fa_spread else None,
        cones=tuple(
            MapFile(path, "cone") if record.get("cones") else None
            for path, record in zip(generated, records, strict=True)
        ),
        spread=tuple(
            _rows(path, "sd") if record.get("calibrated") or record.get("samples", 1) > 1 else ()
            for path, record in zip(generated, records, strict=True)
        ),
        calibrated=any(record.get("calibrated") for record in records),
    )


def _rows(path: Path, name: str, n: int = 3, noise: str = "") -> tuple[MapFile, ...]:
    return tuple(MapFile(path, name, row, noise) for row in range(n))


def _departures(path: Path) -> tuple[tuple[MapFile, ...], ...]:
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as file:
        # not keys() of a dict: the file's own list of names
        names = sorted(file.keys(), key=int)  # noqa: SIM118
        orders = [file.get_slice(name).get_shape()[0] for name in names]
    return tuple(_rows(path, name, n) for name, n in zip(names, orders, strict=True))
