"""Sentences of a participant's page: what the numbers of a scan mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dmri7t.io.kinds.registry import kind_named
from dmri7t.reports.quality import Cleaning, QualityRecord, ShellQuality
from dmri7t.reports.records import ScanReport
from dmri7t.reports.template import percent
from dmri7t.signal.orders import ORDERS

BOUNDED_NOTE = 0.2
"""Fraction of voxels held at a bound from which the page says so in words."""

AGREES = 0.01
"""Fraction of the brain up to which the output is said to agree with the input."""

REPAIRS = {
    "input_nonfinite": "values of the input that were not finite",
    "input_negative": "negative values of the input",
    "output_negative": "negative values of the output",
}


def repairs(quality: QualityRecord) -> list[tuple[str, int]]:
    """What was set to zero, and how many values."""
    return [(REPAIRS.get(kind, kind), n) for kind, n in quality.repaired.items() if n]


def remarks(quality: QualityRecord) -> list[str]:
    """Sentences on cleaning, on shells without the model and on bounds that were reached."""
    return [
        *_cleaning(quality.cleaning),
        *_interpolated(quality.shells),
        *_bounded(quality.shells),
    ]


def _cleaning(cleaning: Cleaning) -> list[str]:
    sentences = []
    if cleaning.denoised:
        sentences.append(
            f"Noise was removed from the scan first, by {cleaning.denoised}, which measured a "
            f"standard deviation of {cleaning.noise_sd or 0:.3g} in the units of the image. The "
            "denoised scan is the input of everything on this page: noise here, signal-to-noise "
            "included, is the noise that remained, which is no longer independent from voxel to "
            "voxel."
        )
    if cleaning.gibbs:
        sentences.append("Gibbs ringing was removed from the scan before the fit.")
    return sentences


def _interpolated(shells: Iterable[ShellQuality]) -> list[str]:
    names = [s.name + (f" ({s.reason})" if s.reason else "") for s in shells if not s.translated]
    return [f"Interpolated only, without the model: {', '.join(names)}."] if names else []


def _bounded(shells: Iterable[ShellQuality]) -> list[str]:
    return [
        f"In {percent(fraction)} of the voxels of {shell.name} the change of order {order} was "
        "held at its bound: the model asked for a larger change."
        for shell in shells
        for order, fraction in zip(ORDERS, shell.bounded, strict=False)
        if fraction >= BOUNDED_NOTE
    ]


def corrections(scans: Sequence[ScanReport]) -> list[tuple[str, str, str]]:
    """Heading, sentence and scans of what is said; no scans where the same holds for all."""
    stems: dict[tuple[str, str], list[str]] = {}
    for scan in scans:
        kind = kind_named(scan.kind)
        stems.setdefault((kind.heading, kind.caveat), []).append(scan.stem)
    return [(*words, ", ".join(own) if len(stems) > 1 else "") for words, own in stems.items()]


def uncompared(scans: Iterable[ScanReport]) -> list[str]:
    """Scans, each with its shells that the model could not compare with its training data."""
    shells = {
        scan.stem: [s.name for s in scan.quality.shells if s.translated and not s.novelty]
        for scan in scans
    }
    return [f"{stem} ({', '.join(names)})" for stem, names in shells.items() if names]


def comparison(shells: Iterable[ShellQuality]) -> list[str]:
    """Sentences that say how far each shell lies from the training data."""
    sentences = []
    for shell in (s for s in shells if s.translated):
        novelty = shell.novelty
        if novelty is None:
            text = "was not compared with the training data: the model has nothing to compare with"
        elif novelty.flagged:
            text = (
                f"reaches {novelty.score:.2f} times the threshold; {novelty.volume_ml:.1f} ml of "
                "the brain lie above it"
            ) + (f", most like {novelty.resembles}" if novelty.resembles else "")
        else:
            text = f"stays below the threshold everywhere ({novelty.score:.2f} of it at most)"
        sentences.append(f"{shell.name} {text}.")
    return sentences


def agreement(shells: Iterable[ShellQuality]) -> list[str]:
    """Sentences that say how much of the brain was changed beyond noise."""
    sentences = []
    for shell in (s for s in shells if s.beyond):
        *first, last = (
            f"{percent(part)} (R{order})" for order, part in zip(ORDERS, shell.beyond, strict=False)
        )
        parts = f"{', '.join(first)} and {last} of the brain"
        text = f"differs from the measurement by more than its noise explains in {parts}"
        if max(shell.beyond) <= AGREES:
            text = f"agrees with the measurement within its noise, except in {parts}"
        sentences.append(f"{shell.name}: resampled to the input's grid, the output {text}.")
    return sentences
