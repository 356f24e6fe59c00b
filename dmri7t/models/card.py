"""The model card: what a model is, in words for its user."""

from __future__ import annotations

from typing import Any

from dmri7t.models import bundle
from dmri7t.signal.orders import ORDERS


def model_card(config: dict[str, Any]) -> str:
    """Write README.md of a bundle from its config.

    Parameters
    ----------
    config : dict
        As in config.json; ``figures`` is optional.
    """
    training, ranges = config["training"], config["ranges"]
    simulated = training["source"] == "simulated pairs"
    lines = [
        f"# {config['name']} {config['version']}",
        "",
        config["description"],
        "",
        "## Trained on",
        "",
        f"{training['source'].capitalize()}."
        + (
            " No real 7T scan, and no real scan at all, took part in the training. What the model"
            " adds to a real scan is what a simulation taught it: the scan's own contrast on finer"
            " voxels, without noise and faults. 7T's relaxation is not part of it."
            if simulated
            else ""
        ),
        "",
        "| range of the training data | from | to |",
        "|---|---|---|",
        *(f"| {name} | {low:g} | {high:g} |" for name, (low, high) in ranges.items()),
        "",
        "## Meant for",
        "",
        "Research on diffusion MRI of the adult brain at 3T, inside the ranges above. The images"
        " are synthetic: fine detail is generated, lesions may be altered or lost, and nothing"
        " here is fit for diagnosis.",
        "",
        "## Stages",
        "",
        "| network | steps | batch |",
        "|---|---|---|",
        *(f"| {n} | {s['steps']} | {s['batch']} |" for n, s in training["stages"].items()),
        "",
    ]
    for name, health in training.get("codebooks", {}).items():
        lines.append(
            f"{name}: {health['codes_in_use']} of {config['networks'][name]['codes']} codes in"
            f" use, perplexity {health['perplexity']}."
        )
    if config.get("shares"):
        lines += ["", *shares_taken(config)]
    if config.get("calibration"):
        check = config["calibration"]["check"]
        held = ", ".join(f"{name} {value:.1%}" for name, value in check["coverage_90"].items())
        lines += [
            "",
            "## Uncertainty",
            "",
            f"Fitted on {config['calibration']['subjects']} simulated subjects. On"
            f" {check['subjects']} others, 90 % intervals held the truth in this share of the"
            f" voxels: {held}. On real scans this is untested.",
        ]
    if config.get("novelty"):
        lines += ["", *alarms(config["novelty"])]
    if config.get("figures"):
        lines += ["", *figures_table(config["figures"])]
    lines += ["", "## Licence", "", "Apache-2.0.", ""]
    return "\n".join(lines)


def shares_taken(config: dict[str, Any]) -> list[str]:
    """Markdown of how much of what diffusion and super-resolution add was found to help."""
    taken = (
        ", ".join(f"R{order} {share:.0%}" for order, share in zip(ORDERS, shares, strict=True))
        for shares in bundle.shares(config)
    )
    samples, refinement = taken
    return [
        "## What goes into the result",
        "",
        f"On {config['shares']['subjects']} simulated subjects it was measured how much the"
        " diffusion's samples and the super-resolution network bring beyond the regression and a"
        f" B-spline. Of the samples' average the result takes {samples}; of the"
        f" super-resolution {refinement}. What chance explains is left out; the samples' spread"
        " is one part of the uncertainty all the same.",
    ]


def alarms(novelty: dict[str, Any]) -> list[str]:
    """Markdown of how often scans were called unlike the training data."""
    found = ", ".join(f"{name} {share:.0%}" for name, share in novelty["detected"].items())
    return [
        "## Alarm for what is unlike the training data",
        "",
        f"Thresholds were set on {novelty['subjects']} simulated subjects. Of {novelty['checked']}"
        f" others, {novelty['false_alarms']:.0%} raised a false alarm; with a fault put in, this"
        f" share raised one: {found}. On real scans this is untested, and no alarm does not mean"
        " that there is no lesion.",
    ]


def figures_table(figures: dict[str, Any]) -> list[str]:
    """Markdown of the figures on simulated test subjects."""
    lines = [
        "## Figures",
        "",
        f"{figures['subjects']} simulated test subjects that the training never saw, against the"
        f" same scan on finer voxels without noise; mean and standard deviation over subjects;"
        f" `{figures['command']}`.",
    ]
    for metric in ("nmse", "ssim"):
        rows = figures[metric]
        maps = list(next(iter(rows.values())))
        lines += ["", f"| {metric.upper()} | " + " | ".join(maps) + " |"]
        lines.append("|---" * (len(maps) + 1) + "|")
        for method, values in rows.items():
            cells = [f"{values[name]['mean']:.4f} ± {values[name]['sd']:.4f}" for name in maps]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return lines
