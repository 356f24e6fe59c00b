"""Quality metrics of a scan, read from the record that lies beside its results."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from dmri7t.errors import InputError


@attrs.frozen
class Spot:
    """A connected part of the brain that is unlike the training data.

    Parameters
    ----------
    volume_ml : float
    score : float
        Its largest distance over the threshold.
    place_mm : tuple of float
        Where that is, scanner's coordinates (right, anterior, superior).
    """

    volume_ml: float
    score: float
    place_mm: tuple[float, ...] = attrs.field(converter=tuple)


def _spots(rows: Sequence[Spot | dict[str, Any]]) -> tuple[Spot, ...]:
    return tuple(row if isinstance(row, Spot) else Spot(**row) for row in rows)


@attrs.frozen
class NoveltyScore:
    """How far a shell lies from the training data.

    Parameters
    ----------
    score : float
        Largest distance over the threshold.
    volume_ml : float
        Brain above the threshold.
    flagged : bool
        Whether the scan is unlike the training data.
    resembles : str
        Kind of fault that it is most like; empty where the model does not say.
    alarm_ml : float
        Connected volume from which on there is an alarm.
    spots : tuple of Spot
        The largest few parts above the threshold, the largest first.
    """

    score: float
    volume_ml: float
    flagged: bool
    resembles: str = ""
    alarm_ml: float = 0.0
    spots: tuple[Spot, ...] = attrs.field(default=(), converter=_spots)

    @property
    def alarming(self) -> tuple[Spot, ...]:
        """The spots that are large enough for an alarm."""
        return tuple(spot for spot in self.spots if spot.volume_ml >= self.alarm_ml)


@attrs.frozen
class ErrorForecast:
    """Forecast of the model's error over that of interpolation: median, and 80 % of the scans."""

    ratio: float
    low: float
    high: float


@attrs.frozen
class HeldOutError:
    """Error along directions that were left out over that of interpolation, and how sure it is."""

    name: str
    ratio: float
    standard_error: float


def _errors(rows: Sequence[HeldOutError | dict[str, Any]]) -> tuple[HeldOutError, ...]:
    return tuple(row if isinstance(row, HeldOutError) else HeldOutError(**row) for row in rows)


@attrs.frozen
class Evidence:
    """What directions that were left out say of a shell.

    See :class:`dmri7t.signal.held_out.Evidence`.

    Parameters
    ----------
    shares : tuple of tuple of float
        What part of filter and of model the result takes, by order.
    errors : tuple of HeldOutError
        Of ``filter`` and ``model`` taken whole, and of the ``result``.
    beside : tuple of HeldOutError
        Of ``mppca`` and of the ``result`` in a block in the middle of the brain.
    reason : str
        Why nothing could be measured.
    coarser : tuple of HeldOutError
        Of ``filter``, ``model`` and ``result`` of the scan made coarser, on its own grid.
    factor : float
        By how much coarser.
    """

    shares: tuple[tuple[float, ...], ...] = ()
    errors: tuple[HeldOutError, ...] = attrs.field(default=(), converter=_errors)
    beside: tuple[HeldOutError, ...] = attrs.field(default=(), converter=_errors)
    reason: str = ""
    coarser: tuple[HeldOutError, ...] = attrs.field(default=(), converter=_errors)
    factor: float = 1.0

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Evidence:
        """Read what a record says of a shell."""
        shares = tuple(tuple(by_order) for by_order in row.get("shares", ()))
        errors, beside = row.get("errors", ()), row.get("beside", ())
        coarser, factor = row.get("coarser", ()), row.get("factor", 1.0)
        return cls(shares, errors, beside, row.get("reason", ""), coarser, factor)

    def error(self, name: str) -> HeldOutError | None:
        """Of an estimate in the whole brain; None where it was not measured."""
        return next((error for error in self.errors if error.name == name), None)

    def error_coarser(self, name: str) -> HeldOutError | None:
        """Of an estimate of the scan made coarser; None where it was not measured."""
        return next((error for error in self.coarser if error.name == name), None)

    def error_beside(self, name: str) -> HeldOutError | None:
        """Of an estimate in the block; None where it was not measured."""
        return next((error for error in self.beside if error.name == name), None)


@attrs.frozen
class Cleaning:
    """What was removed from a scan before anything else.

    Parameters
    ----------
    denoised : str
        Method; empty where noise was left in.
    gibbs : bool
        Whether Gibbs ringing was removed.
    noise_sd, removed_sd : float, optional
        Standard deviation of the noise as the method measured it, and root mean square of what
        it removed, in the units of the image.
    """

    denoised: str = ""
    gibbs: bool = False
    noise_sd: float | None = None
    removed_sd: float | None = None


@attrs.frozen
class JoinedPart:
    """A series that a scan was joined from.

    Parameters
    ----------
    source : str
        BIDS URI of its image.
    volumes : int
        That are used.
    scale : float
        By which they were multiplied.
    """

    source: str
    volumes: int
    scale: float


@attrs.frozen
class ShellQuality:
    """Quality metrics of one shell; None, or empty, where a metric does not apply.

    Parameters
    ----------
    name : str
        Such as ``b1000``.
    n_volumes : int
    translated : bool
        Whether it went through the model; if not, it was interpolated only.
    nmse : float
        Of the output, brought back to the input's grid, against the input.
    bval, order, laplace_beltrami, snr : optional
        b in s/mm2, order of the harmonics, weight of their penalty, b0 over noise.
    gain : tuple of float
        Mean gain of the fit by order, which was divided out.
    bounded : tuple of float
        Fraction of voxels whose ratio was held by a bound, by order.
    difference, noise, beyond : tuple of float
        How far the output lies from the input, what noise alone makes of that, and in which
        part of the brain it is more than noise explains, by order; see
        :class:`dmri7t.signal.consistency.Departure`.
    reason : str
        Why it was interpolated only.
    novelty : NoveltyScore, optional
        None where the model cannot tell.
    expected : dict of ErrorForecast
        By map.
    evidence : Evidence, optional
        None where the scan was not asked.
    floor : float
        Standard deviation of the noise whose floor was taken out, in units of the scanner.
    """

    name: str
    n_volumes: int
    translated: bool
    nmse: float
    bval: float | None = None
    order: int | None = None
    laplace_beltrami: float | None = None
    snr: float | None = None
    gain: tuple[float, ...] = ()
    bounded: tuple[float, ...] = ()
    difference: tuple[float, ...] = ()
    noise: tuple[float, ...] = ()
    beyond: tuple[float, ...] = ()
    reason: str = ""
    novelty: NoveltyScore | None = None
    expected: dict[str, ErrorForecast] = attrs.field(factory=dict)
    evidence: Evidence | None = None
    floor: float = 0.0

    @property
    def darkest(self) -> float:
        """Mean magnitude of that noise alone."""
        # dmri7t.signal.floor.RAYLEIGH, without loading torch for a page
        return math.sqrt(math.pi / 2) * self.floor

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> ShellQuality:
        """Read a row of ``shells`` of :func:`dmri7t.signal.quality.quality_record`."""
        novelty, consistency = row.get("novelty"), row.get("consistency", {})
        evidence = row.get("evidence")
        return cls(
            name=row["name"],
            n_volumes=row["n_volumes"],
            translated=row["translated"],
            nmse=row["nmse"],
            bval=row.get("bval"),
            order=row.get("order"),
            laplace_beltrami=row.get("laplace_beltrami"),
            snr=row.get("snr"),
            gain=tuple(row.get("gain", ())),
            bounded=tuple(row.get("bounded", ())),
            difference=tuple(consistency.get("difference", ())),
            noise=tuple(consistency.get("noise", ())),
            beyond=tuple(consistency.get("beyond", ())),
            reason=row.get("reason", ""),
            novelty=NoveltyScore(**novelty) if novelty else None,
            expected={k: ErrorForecast(**v) for k, v in row.get("expected", {}).items()},
            evidence=Evidence.from_row(evidence) if evidence else None,
            floor=row.get("floor", 0.0),
        )


@attrs.frozen
class QualityRecord:
    """Quality metrics of one scan.

    Parameters
    ----------
    n_b0 : int
        Volumes that count as b0.
    nmse : dict
        Of the output, brought back to the input's grid, by group and for ``all``.
    snr : float, optional
        b0 over noise, the lowest of the translated shells.
    shells : tuple of ShellQuality
    repaired : dict
        Counts of repaired values, by kind.
    outside_training : tuple of str
        Sentences that say where the input lies outside what the model was trained on.
    mask_volume_ml : float, optional
    tissues : dict
        Of :func:`dmri7t.signal.tissues.tissue_record`; empty without a segmentation.
    cleaning : Cleaning
    joined : tuple of JoinedPart
        What the scan was joined from; empty: it was one series.
    """

    n_b0: int
    nmse: dict[str, float]
    snr: float | None
    shells: tuple[ShellQuality, ...]
    repaired: dict[str, int]
    outside_training: tuple[str, ...] = ()
    mask_volume_ml: float | None = None
    tissues: dict[str, Any] = attrs.field(factory=dict)
    cleaning: Cleaning = Cleaning()
    joined: tuple[JoinedPart, ...] = ()

    @classmethod
    def read(cls, path: str | Path) -> QualityRecord:
        """Read the record of :func:`dmri7t.signal.quality.quality_record`.

        Raises
        ------
        InputError
            If the file does not hold such a record.
        """
        try:
            record = json.loads(Path(path).read_text())
            return cls(
                n_b0=record["b0"]["n_volumes"],
                nmse=record["nmse"],
                snr=record["snr"],
                shells=tuple(ShellQuality.from_row(row) for row in record["shells"]),
                repaired=record["repaired"],
                outside_training=tuple(record["outside_training"]),
                mask_volume_ml=record.get("mask_volume_ml"),
                tissues=record.get("tissues", {}),
                cleaning=Cleaning(**record.get("cleaning", {})),
                joined=tuple(JoinedPart(**part) for part in record.get("joined", ())),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: not a readable record of quality ({type(error).__name__}: {error}); "
                "run the scan again."
            ) from error
