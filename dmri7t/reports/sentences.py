"""Sentences of a participant's page: what the numbers of a scan mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dmri7t.io.kinds.registry import kind_named
from dmri7t.reports.quality import Cleaning, JoinedPart, QualityRecord, ShellQuality
from dmri7t.reports.records import ScanReport
from dmri7t.reports.template import percent
from dmri7t.signal.grids import place_words
from dmri7t.signal.orders import ORDERS

BOUNDED_NOTE = 0.2
"""Fraction of voxels held at a bound from which the page says so in words."""

AGREES = 0.01
"""Fraction of the brain up to which the output is said to agree with the input."""

REPAIRS = {
    "input_nonfinite": "values of the input that were not finite (set to zero)",
    "input_negative": "negative values of the input (set to zero)",
    "output_outside": "values of the output above the b0, or below what free water leaves of it "
    "(set to that bound)",
}


def repairs(quality: QualityRecord) -> list[tuple[str, int]]:
    """What was set to another value, and how many values."""
    return [(REPAIRS.get(kind, kind), n) for kind, n in quality.repaired.items() if n]


def remarks(quality: QualityRecord) -> list[str]:
    """Sentences on parts, cleaning, shells without the model and bounds that were reached."""
    return [
        *_joined(quality.joined),
        *_cleaning(quality.cleaning),
        *_interpolated(quality.shells),
        *_bounded(quality.shells),
    ]


def _joined(parts: Sequence[JoinedPart]) -> list[str]:
    if not parts:
        return []
    told = [
        f"{part.source.rsplit('/', 1)[-1]} ({part.volumes} volumes, times {part.scale:.4g})"
        for part in parts
    ]
    return [
        f"Joined from {len(parts)} series, each multiplied to the b0 signal of the first: "
        f"{', '.join(told)}. Motion between them was not corrected."
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
    names: dict[str, list[str]] = {}
    for shell in shells:
        if not shell.translated:
            names.setdefault(shell.reason, []).append(shell.name)
    parts = [f"{', '.join(own)}{f' ({why})' if why else ''}" for why, own in names.items()]
    return [f"Interpolated only, without the model: {'; '.join(parts)}."] if parts else []


def _bounded(shells: Iterable[ShellQuality]) -> list[str]:
    return [
        f"In {percent(fraction)} of the voxels of {shell.name} the change of order {order} was "
        "held at its bound: the model asked for a larger change."
        for shell in shells
        for order, fraction in zip(ORDERS, shell.bounded, strict=False)
        if fraction >= BOUNDED_NOTE
    ]


def shares(shells: Iterable[ShellQuality]) -> list[str]:
    """Sentences that say what part of filter and model went into each shell, and why."""
    sentences = []
    for shell in shells:
        if shell.evidence is None or len(shell.evidence.shares) < 2:
            continue
        parts = [
            ", ".join(f"{percent(part)} (R{o})" for o, part in zip(ORDERS, by_order, strict=False))
            for by_order in shell.evidence.shares
        ]
        why = shell.evidence.reason or (
            "the shares that best foretell directions of this scan that were left out"
        )
        sentences.append(
            f"{shell.name} takes of what the filter changes {parts[0]}, and of what the model "
            f"changes beyond it {parts[1]}: {why}."
        )
    return sentences


FINER = "what finer voxels with less noise would have shown"


def origin(scans: Sequence[ScanReport], simulated: bool) -> tuple[str, str]:
    """What the results are, in a word and in a sentence: a scan may give the model no part.

    Parameters
    ----------
    scans : sequence of ScanReport
    simulated : bool
        Whether the model learned from simulated scans.
    """
    shells = [s for scan in scans for s in scan.quality.shells if s.translated]
    if not shells:
        return "interpolated", "No shell went through the model: it is the 3T scan on finer voxels."
    # the filter's and the model's, by order
    shares = [s.evidence.shares if s.evidence else () for s in shells]
    if all(len(of_shell) > 1 and not any(of_shell[1]) for of_shell in shares):
        return "synthetic", (
            "A filter made it from a 3T scan; the trained model was asked and has no part in it, "
            f"for the reason given below in words. It is an estimate of {FINER}."
        )
    learned = f"{FINER}, learned from simulated scans"
    shown = learned if simulated else "what a 7T scanner might have measured"
    return "synthetic", (
        f"A filter and a trained model made it from a 3T scan: it is an estimate of {shown}."
    )


def corrections(scans: Sequence[ScanReport]) -> list[tuple[str, str, str]]:
    """Heading, sentence and scans of what is said; no scans where the same holds for all."""
    stems: dict[tuple[str, str], list[str]] = {}
    for scan in scans:
        kind = kind_named(scan.kind)
        stems.setdefault((kind.heading, kind.caveat), []).append(scan.stem)
    return [(*words, ", ".join(own) if len(stems) > 1 else "") for words, own in stems.items()]


def comparison(shells: Iterable[ShellQuality]) -> list[str]:
    """Sentences that say how far each shell lies from the training data."""
    sentences = []
    for shell in (s for s in shells if s.translated):
        novelty = shell.novelty
        if novelty is None:
            text = "was not compared with the training data: the model has nothing to compare with"
        elif novelty.flagged:
            text = (
                f"reaches {novelty.score:.2f} times the threshold of what is like the training "
                f"data; {novelty.volume_ml:.1f} ml of the brain lie above it"
            ) + (f", most like {novelty.resembles}" if novelty.resembles else "")
        elif novelty.spots:
            largest = novelty.spots[0]
            text = (
                f"lies a little above the threshold of what is like the training data in "
                f"{largest.volume_ml:.1f} ml at {place_words(largest.place_mm)} "
                f"({largest.score:.2f} of it), which is less than the {novelty.alarm_ml:g} ml that "
                "raise an alarm"
            )
        else:
            text = (
                "is everywhere like the training data (the worst place reaches "
                f"{novelty.score:.2f} of the threshold)"
            )
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
