"""The model card: what a model is, in words for its user."""

from __future__ import annotations

from collections.abc import Iterator

from dmri7t.models.config import ModelConfig
from dmri7t.models.fitted import (
    Alarms,
    Calibration,
    Metrics,
    Shares,
    Spread,
    TrainingRecord,
    Triple,
)
from dmri7t.signal.orders import ORDERS

NO_SCAN = (
    " No real 7T scan, and no real scan at all, took part in the training. What the model adds to"
    " a real scan is what a simulation taught it: the scan's own contrast on finer voxels, without"
    " noise and faults. 7T's relaxation is not part of it."
)

MEANT_FOR = (
    "Research on diffusion MRI of the adult brain at 3T, inside the ranges above. The images are"
    " synthetic: fine detail is generated, lesions may be altered or lost, and nothing here is fit"
    " for diagnosis."
)


def model_card(config: ModelConfig) -> str:
    """Write README.md of a model from its description."""
    training = config.training
    lines = [
        f"# {config.name} {config.version}",
        "",
        config.description,
        "",
        "## Trained on",
        "",
        f"{capital(training.source)}.{NO_SCAN if training.simulated else ''}",
        *_scans(training),
        "",
        "| range of the training data | from | to |",
        "|---|---|---|",
        *(f"| {name} | {low:g} | {high:g} |" for name, (low, high) in config.ranges.items()),
        "",
        "## Meant for",
        "",
        MEANT_FOR,
        "",
        "## Stages",
        "",
        "| network | steps | batch |",
        "|---|---|---|",
        *(f"| {name} | {s.steps} | {s.batch} |" for name, s in training.stages.items()),
        "",
        *_codebooks(config),
    ]
    if config.shares.fit:
        lines += ["", *_shares(config.shares, config.shares.fit.subjects)]
    if config.calibration:
        lines += ["", *_uncertainty(config.calibration)]
    if config.novelty:
        lines += ["", *_alarms(config.novelty)]
    if config.metrics:
        lines += ["", *_metrics(config.metrics)]
    lines += ["", "## Licence", "", "Apache-2.0.", ""]
    return "\n".join(lines)


def capital(text: str) -> str:
    """Make the first letter large, and leave names in the rest as they are.

    Examples
    --------
    >>> capital("single 3T scans of LabA")
    'Single 3T scans of LabA'
    """
    return text[:1].upper() + text[1:]


def _scans(training: TrainingRecord) -> Iterator[str]:
    """Which single 3T scans the regression learned from, and where its weights began."""
    if scans := training.scans:
        yield ""
        yield (
            f"The regression learned from {scans.examples} blocks of 3T scans of {scans.dataset}"
            f" ({scans.subjects} subjects with {scans.scans} scans, those for validation among"
            " them): some directions of a shell, made coarser and noisier, against its others."
            " No 7T scan and no scan without noise took part. Of what it learned from,"
            f" {scans.simulated_part:.0%} was simulated."
        )
    if start := training.start:
        yield ""
        yield (
            f"Its weights began as those of {start.name} {start.version} ({start.source}); other"
            " networks than the regression are still those. Intervals and alarms are fitted anew"
            " by `dmri7t-model calibrate`."
        )


def _codebooks(config: ModelConfig) -> Iterator[str]:
    """How well the codes of each VQ-VAE are used."""
    codes = {"vqvae_3t": config.networks.vqvae_3t, "vqvae_7t": config.networks.vqvae_7t}
    for name, health in config.training.codebooks.items():
        if vqvae := codes.get(name):
            yield (
                f"{name}: {health.codes_in_use} of {vqvae.codes} codes in use, perplexity"
                f" {health.perplexity}."
            )


def _shares(shares: Shares, subjects: int) -> list[str]:
    """How much of what diffusion and super-resolution add was found to help."""
    return [
        "## What goes into the result",
        "",
        f"On {subjects} simulated subjects it was measured how much the diffusion's samples and"
        " the super-resolution network bring beyond the regression and a B-spline. Of the samples'"
        f" average the result takes {_by_order(shares.samples)}; of the super-resolution"
        f" {_by_order(shares.super_resolution)}. What chance explains is left out; the samples'"
        " spread is one part of the uncertainty all the same.",
    ]


def _by_order(share: Triple) -> str:
    return ", ".join(f"R{order} {value:.0%}" for order, value in zip(ORDERS, share, strict=True))


def _uncertainty(calibration: Calibration) -> list[str]:
    """How well intervals held the truth."""
    check = calibration.check
    held = ", ".join(f"{name} {value:.1%}" for name, value in check.coverage_90.items())
    cones = ""
    if check.cone_95 is not None:
        cones = (
            f" Of the true directions, where these are clear, {check.cone_95:.1%} lay within cones"
            " that should hold 95 %."
        )
    return [
        "## Uncertainty",
        "",
        f"Fitted on {calibration.intervals.subjects} simulated subjects. On {check.subjects}"
        f" others, 90 % intervals held the truth in this share of the voxels: {held}.{cones}"
        " On real scans this is untested.",
    ]


def _alarms(alarms: Alarms) -> list[str]:
    """How often scans were called unlike the training data."""
    detected = ", ".join(f"{name} {share:.0%}" for name, share in alarms.detected.items())
    return [
        "## Alarm for what is unlike the training data",
        "",
        f"Thresholds were set on {alarms.subjects} simulated subjects. Of {alarms.checked}"
        f" others, {alarms.false_alarms:.0%} raised a false alarm; with a fault put in, this"
        f" share raised one: {detected}. On real scans this is untested, and no alarm does not"
        " mean that there is no lesion.",
    ]


def _metrics(metrics: Metrics) -> list[str]:
    """What was measured on simulated subjects, a table a metric."""
    lines = [
        "## Metrics",
        "",
        f"{metrics.subjects} simulated test subjects that the training never saw, against the"
        " same scan on finer voxels without noise; mean and standard deviation over subjects;"
        f" `{metrics.command}`.",
    ]
    for metric, rows in {"NMSE": metrics.nmse, "SSIM": metrics.ssim}.items():
        names = list(next(iter(rows.values()), {}))
        lines += ["", f"| {metric} | " + " | ".join(names) + " |"]
        lines.append("|---" * (len(names) + 1) + "|")
        for method, values in rows.items():
            cells = [_cell(values[name]) for name in names]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return lines


def _cell(value: Spread) -> str:
    return f"{value.mean:.4f}" if value.sd is None else f"{value.mean:.4f} ± {value.sd:.4f}"
