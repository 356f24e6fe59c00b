"""The page of a participant: one HTML file that needs nothing but its own figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from dmri7t.files import whole_file
from dmri7t.reports import drawing
from dmri7t.reports.citations import cited
from dmri7t.reports.figures import Figure, rename, scan_figures
from dmri7t.reports.orientation import OrientationCheck, check_orientation
from dmri7t.reports.records import NodeTime, ParticipantReport, ScanReport, ShellFigures
from dmri7t.reports.views import View, read_values

BOUNDED_NOTE = 0.2
"""Fraction of voxels held by a bound from which the page says so in words."""

AGREES = 0.01
"""Fraction of the brain up to which the output is said to agree with the input."""

SHOWN_SECONDS = 0.1
"""Nodes that took less are only counted."""

RANGE_WORDS = {
    "voxel_size_mm": ("voxel size", "mm"),
    "bval": ("b-value", "s/mm²"),
    "n_directions": ("directions", ""),
    "snr": ("signal-to-noise of the b0", ""),
}

REPAIRS = {
    "input_nonfinite": "values of the input that were not finite",
    "input_negative": "negative values of the input",
    "output_negative": "negative values of the output",
}

CAME_FROM = {
    "raw": (
        "It was not corrected for motion and distortion",
        "The scan came from a raw data set, and dmri7t corrects no motion, eddy currents or "
        "susceptibility distortion: what of them is in the input is in the output too. Run QSIPrep "
        "first and give its results to dmri7t.",
    ),
    "qsiprep": (
        "It was corrected before",
        "The scan came from QSIPrep's results. dmri7t itself corrects no motion, eddy currents or "
        "distortion: what QSIPrep left is in the output too.",
    ),
    "hcp": (
        "It was corrected before",
        "The scan came from the Human Connectome Project's pipelines. dmri7t itself corrects no "
        "motion, eddy currents or distortion: what they left is in the output too.",
    ),
    "": (
        "It was taken as it is",
        "dmri7t corrects no motion, eddy currents or susceptibility distortion: what of them is in "
        "the input is in the output too. Correct them before, where it matters.",
    ),
}
"""What the page says of corrections, by where a scan came from."""

METHOD_NAMES = {
    "interpolation": "interpolation only",
    "linear": "linear scaling",
    "default": "this model",
    "model": "this model",
}


@dataclass(frozen=True)
class Picture:
    """A picture of a figure as the page names it; ``alt`` is read to who can't see it."""

    name: str
    href: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class PageFigure:
    """A figure whose pictures are on disk."""

    anchor: str
    title: str
    caption: str
    kind: str
    pictures: tuple[Picture, ...]


def write_report(report: ParticipantReport, out_dir: str | Path) -> list[Path]:
    """Write a participant's page and its figures.

    Parameters
    ----------
    report : ParticipantReport
    out_dir : path
        Root of the derivative data set.

    Returns
    -------
    list of Path
        The page first, then the figures. Each appears under its name only when it is whole, the
        page after its figures.

    Raises
    ------
    InputError
        If a map does not fit its mask, or a scan's grids do not share their axes.
    """
    out_dir = Path(out_dir)
    folder = out_dir / f"sub-{report.label}" / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    scans = []
    for scan in report.scans:
        figures = []
        for figure in scan_figures(scan):
            anchor = f"{scan.stem}-{figure.name}"
            files, drawn = _save(rename(figure, scan.stem), folder, out_dir, anchor)
            written += files
            figures.append(drawn)
        scans.append(_describe_scan(scan, figures))
    page = out_dir / f"sub-{report.label}.html"
    with whole_file(page) as part:
        part.write_text(render(report, scans), encoding="utf-8")
    return [page, *written]


def render(report: ParticipantReport, scans: Sequence[dict[str, Any]]) -> str:
    """HTML of a page whose figures are on disk."""
    methods = methods_text([(scan.stem, scan.methods) for scan in report.scans], report.versions)
    references = cited(methods)
    return render_template(
        "page.html.jinja",
        report=report,
        scans=scans,
        warnings=[s for s in scans if s["warnings"]],
        uncompared=_uncompared(report.scans),
        came_from=_came_from(report.scans),
        misfits=[s for s in scans if s["orientation"] and s["orientation"].suspicious],
        methods=methods,
        references=[reference.text for reference in references],
        bibtex="\n\n".join(reference.bibtex for reference in references),
        ranges=_ranges(report),
        model_figures=_model_figures(report.model.figures),
        times=run_times(report.nodes, {s.nodes: s.stem for s in report.scans if s.nodes}),
    )


def render_template(name: str, **values: Any) -> str:
    """HTML of one of the templates beside this file, in the style that all pages share."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": _number,
        "percent": _percent,
        "seconds": _seconds,
        "nmse": _nmse,
    }
    parts = resources.files("dmri7t.reports")
    template = environment.from_string(parts.joinpath(name).read_text("utf-8"))
    return template.render(style=Markup(parts.joinpath("page.css").read_text("utf-8")), **values)


def page_pictures(page: str | Path) -> list[Path]:
    """Pictures that a page shows, wherever it lies now."""
    text = Path(page).read_text(encoding="utf-8")
    return [Path(page).parent / name for name in re.findall(r'<img[^>]* src="([^"]+)"', text)]


def _save(
    figure: Figure, folder: Path, out_dir: Path, anchor: str
) -> tuple[list[Path], PageFigure]:
    files, pictures = [], []
    for column, image in figure.columns.items():
        path = folder / f"{figure.name}_{column}.png"
        with whole_file(path) as part:
            part.write_bytes(drawing.encode(image))
        files.append(path)
        href = path.relative_to(out_dir).as_posix()
        alt = f"{figure.title}, {column}: axial, coronal and sagittal slice"
        pictures.append(Picture(column, href, image.width, image.height, alt))
    drawn = PageFigure(anchor, figure.title, figure.caption, figure.kind, tuple(pictures))
    return files, drawn


def _describe_scan(scan: ScanReport, figures: list[PageFigure]) -> dict[str, Any]:
    quality = scan.quality
    passed = [shell for shell in quality.shells if not shell.translated]
    orientation = _orientation(scan)
    return {
        "scan": scan,
        "anchor": scan.stem,
        "figures": figures,
        "grids": [
            (name, *_grid(maps.mask))
            for name, maps in (("3T input", scan.before), ("7T-like output", scan.after))
        ],
        "repairs": [(REPAIRS.get(k, k), n) for k, n in quality.repaired.items() if n],
        "warnings": quality.outside_training,
        "orientation": orientation,
        "agreement": _agreement(quality.shells),
        "comparison": _comparison(quality.shells),
        "remarks": [
            *_cleaning_remarks(quality.cleaning),
            *_passed_remarks(passed),
            *_bounded_remarks(quality.shells),
        ],
    }


def _came_from(scans: Sequence[ScanReport]) -> list[tuple[str, str, str]]:
    """Head, sentence and scans of each kind of source; no scans where all are of one."""
    kinds: dict[str, list[str]] = {}
    for scan in scans:
        kinds.setdefault(scan.kind if scan.kind in CAME_FROM else "", []).append(scan.stem)
    return [
        (*CAME_FROM[kind], ", ".join(stems) if len(kinds) > 1 else "")
        for kind, stems in kinds.items()
    ]


def _orientation(scan: ScanReport) -> OrientationCheck | None:
    maps = scan.before
    if maps.fa is None or maps.direction is None:
        return None
    view = View.open(maps.mask)
    return check_orientation(view, read_values(maps.fa, view), read_values(maps.direction, view))


def _grid(mask: Path) -> tuple[str, str]:
    view = View.open(mask)
    sizes = [f"{mm:.4g}" for mm in view.sizes_3]
    shape = " × ".join(str(n) for n in view.lookup_XYZ.shape) + " voxels"
    if len(set(sizes)) == 1:
        return sizes[0], f"isotropic, {shape}"
    return " × ".join(sizes), shape


def _cleaning_remarks(cleaning: dict[str, Any]) -> list[str]:
    """Sentences on noise and ringing that were taken out of the scan before all else."""
    sentences = []
    if cleaning.get("denoised"):
        sentences.append(
            f"Noise was taken out of the scan first, by {cleaning['denoised']}; it found a "
            f"standard deviation of {cleaning['noise_sd']:.3g} in the units of the image. That "
            "scan is the input from here on. What is called noise on this page, signal-to-noise "
            "included, is what was left of it, which is no longer independent from voxel to voxel."
        )
    if cleaning.get("gibbs"):
        sentences.append("Gibbs ringing was taken out of the scan before the fit.")
    return sentences


def _passed_remarks(passed: Iterable[ShellFigures]) -> list[str]:
    names = ", ".join(s.name + (f" ({s.reason})" if s.reason else "") for s in passed)
    return [f"Interpolated only, without the model: {names}."] if names else []


def _uncompared(scans: Iterable[ScanReport]) -> list[str]:
    """Scans, each with its shells that the model could not compare with its training data."""
    found = {
        scan.stem: [s.name for s in scan.quality.shells if s.translated and not s.novelty]
        for scan in scans
    }
    return [f"{stem} ({', '.join(names)})" for stem, names in found.items() if names]


def _comparison(shells: Iterable[ShellFigures]) -> list[str]:
    """Sentences that say how far each shell lies from the training data."""
    sentences = []
    for shell in (s for s in shells if s.translated):
        found = shell.novelty
        if not found:
            text = "was not compared with the training data: the model has nothing to compare with"
        elif found["flagged"]:
            text = (
                f"reaches {found['score']:.2f} times the threshold; {found['volume_ml']:.1f} ml of "
                "the brain lie above it"
            ) + (f", most like {found['resembles']}" if found.get("resembles") else "")
        else:
            text = f"stays below the threshold everywhere ({found['score']:.2f} of it at most)"
        sentences.append(f"{shell.name} {text}.")
    return sentences


def _agreement(shells: Iterable[ShellFigures]) -> list[str]:
    """Sentences that say how much of the brain was changed beyond noise."""
    sentences = []
    for shell in (s for s in shells if s.beyond):
        *most, last = (f"{_percent(share)} (R{2 * row})" for row, share in enumerate(shell.beyond))
        shares = f"{', '.join(most)} and {last} of the brain"
        found = f"departs from what was measured by more than its noise explains in {shares}"
        if max(shell.beyond) <= AGREES:
            found = f"agrees with what was measured within its noise, but for {shares}"
        sentences.append(f"{shell.name}: brought back to the input's grid, the output {found}.")
    return sentences


def _bounded_remarks(shells: Iterable[ShellFigures]) -> list[str]:
    return [
        f"In {_percent(fraction)} of the voxels of {shell.name} the change of order {2 * row} was "
        "held by a bound: what the model asked for there was not believed."
        for shell in shells
        for row, fraction in enumerate(shell.bounded)
        if fraction >= BOUNDED_NOTE
    ]


def methods_text(scans: Sequence[tuple[str, str]], versions: dict[str, str]) -> str:
    """Methods of scans; what several of them share is said once.

    Where the scans differ, each paragraph that is not of all names its scans.

    Parameters
    ----------
    scans : sequence of (name, text)
        Paragraphs of each scan's methods; scans without are left out.
    versions : dict
        Version by package; see :func:`dmri7t.reports.records.software_versions`.
    """
    told = [(stem, text.split("\n\n")) for stem, text in scans if text]
    owners: dict[str, list[str]] = {}
    for stem, parts in told:
        for part in parts:
            owners.setdefault(part, []).append(stem)
    paragraphs = [
        part if len(stems) == len(told) else f"({_some(stems)}) {part}"
        for part, stems in owners.items()
    ]
    by_name = {
        "nipype": ("Nipype", "Gorgolewski et al. 2011"),
        "monai": ("MONAI", "Cardoso et al. 2022"),
    }
    used = [
        f"{name} {versions[package]} [{citation}]"
        for package, (name, citation) in by_name.items()
        if package in versions
    ]
    if used and "dmri7t" in versions:
        paragraphs.append(f"All steps ran in dmri7t {versions['dmri7t']}, with {', '.join(used)}.")
    return "\n\n".join(paragraphs)


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _ranges(report: ParticipantReport) -> list[tuple[str, str]]:
    rows = []
    for name, (low, high) in report.model.ranges.items():
        word, unit = RANGE_WORDS.get(name, (name, ""))
        rows.append((word, f"{_plain(low)} to {_plain(high)} {unit}".strip()))
    return rows


def _model_figures(figures: dict[str, Any]) -> dict[str, Any] | None:
    """Rows of the model's own record of NMSE; None where it has none."""
    try:
        rows = {
            METHOD_NAMES.get(method, method): {
                name: (float(value["mean"]), float(value["sd"])) for name, value in maps.items()
            }
            for method, maps in figures["nmse"].items()
        }
        columns = list(next(iter(rows.values())))
        return {"rows": rows, "columns": columns, "subjects": int(figures["subjects"])}
    except (KeyError, TypeError, ValueError, StopIteration, AttributeError):
        return None


def run_times(
    nodes: Sequence[NodeTime], workflows: dict[str, str] | None = None
) -> dict[str, Any] | None:
    """Rows of a bar chart, the longest the full width; what took no time is summed up.

    Parameters
    ----------
    nodes : sequence of NodeTime
    workflows : dict, optional
        Title of every scan by the name with which its nodes begin; one title for each group of
        rows.

    Examples
    --------
    >>> nodes = (NodeTime("a_wf.fit", 3.0), NodeTime("b_wf.small", 0.01), NodeTime("b_wf.x", 1.5))
    >>> times = run_times(nodes, {"a_wf": "scan a", "b_wf": "scan b"})
    >>> [(g["title"], [(r["name"], r["width"]) for r in g["rows"]]) for g in times["groups"]]
    [('scan a', [('fit', 100.0)]), ('scan b', [('x', 50.0)])]
    >>> times["small"], times["total"]
    (1, 4.51)
    """
    if not nodes:
        return None
    longest = max(node.seconds for node in nodes) or 1.0
    groups: dict[str, list[dict[str, Any]]] = {name: [] for name in (workflows or {})}
    shown = [node for node in nodes if node.seconds >= SHOWN_SECONDS]
    for node in shown:
        first, _, rest = node.name.partition(".")
        known = rest and first in groups
        row = {
            "name": (rest if known else node.name).replace("_wf.", "."),
            "seconds": node.seconds,
            "width": round(100 * node.seconds / longest, 1),
            "peak_gb": node.peak_gb,
            "cached": node.state != "done",
        }
        groups.setdefault(first if known else "", []).append(row)
    return {
        "groups": [
            {"title": (workflows or {}).get(name, "Whole participant"), "rows": rows}
            for name, rows in groups.items()
            if rows
        ],
        "small": len(nodes) - len(shown),
        "total": sum(node.seconds for node in nodes),
        "memory": any(node.peak_gb for node in shown),
    }


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}g}"


def _plain(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{float(f'{value:.3g}'):g}"


def _nmse(value: float) -> str:
    """Four decimals; fewer where the value is large, as they would say nothing."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.0f}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if fraction < 0.995 else "100 %"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 120 else f"{int(value // 60)} min {int(value % 60):02d} s"
