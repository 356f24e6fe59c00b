"""The page of a participant: one HTML file that needs nothing but its own pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import attrs

from dmri7t.files import write_whole
from dmri7t.reports import drawing, sentences
from dmri7t.reports.boilerplate import methods_text
from dmri7t.reports.citations import cited
from dmri7t.reports.orientation import OrientationCheck, check_orientation
from dmri7t.reports.pictures import MapPictures, scan_pictures
from dmri7t.reports.records import ModelCard, ParticipantReport, ScanReport
from dmri7t.reports.template import plain_number, render_template
from dmri7t.reports.times import run_times
from dmri7t.reports.views import View, read_values

RANGE_WORDS = {
    "voxel_size_mm": ("voxel size", "mm"),
    "bval": ("b-value", "s/mm²"),
    "n_directions": ("directions", ""),
    "snr": ("signal-to-noise of the b0", ""),
}

METHOD_NAMES = {
    "interpolation": "interpolation only",
    "linear": "linear scaling",
    "default": "this model",
    "model": "this model",
}


@attrs.frozen
class Picture:
    """A picture on disk as the page shows it; ``alt`` is read to those who cannot see it."""

    column: str
    href: str
    width: int
    height: int
    alt: str


@attrs.frozen
class PictureRow:
    """Pictures of one map on disk; the fields are those of :class:`MapPictures`."""

    name: str
    anchor: str
    title: str
    caption: str
    layout: str
    pictures: tuple[Picture, ...]


@attrs.frozen
class ScanSection:
    """One scan's part of the page.

    Parameters
    ----------
    scan : ScanReport
    rows : tuple of PictureRow
    grids : tuple of (str, str, str)
        Name, voxel sizes in mm, and shape of the grid of the input and of the output.
    orientation : OrientationCheck, optional
        None where there is too little white matter to tell.
    """

    scan: ScanReport
    rows: tuple[PictureRow, ...]
    grids: tuple[tuple[str, str, str], ...]
    orientation: OrientationCheck | None

    @property
    def anchor(self) -> str:
        """Of the section, for links."""
        return self.scan.stem

    @property
    def warnings(self) -> tuple[str, ...]:
        """Where the scan lies outside what the model was trained on."""
        return self.scan.quality.outside_training

    @property
    def repairs(self) -> list[tuple[str, int]]:
        """What was set to zero, and how many values."""
        return sentences.repairs(self.scan.quality)

    @property
    def remarks(self) -> list[str]:
        """Sentences on how the scan was processed."""
        return sentences.remarks(self.scan.quality)

    @property
    def comparison(self) -> list[str]:
        """Sentences on the likeness to the training data."""
        return sentences.comparison(self.scan.quality.shells)

    @property
    def agreement(self) -> list[str]:
        """Sentences on the agreement of output and input."""
        return sentences.agreement(self.scan.quality.shells)


def write_report(report: ParticipantReport, out_dir: str | Path) -> list[Path]:
    """Write a participant's page and its pictures.

    Parameters
    ----------
    report : ParticipantReport
    out_dir : path
        Root of the derivative data set.

    Returns
    -------
    list of Path
        The page first, then the pictures. Each appears under its name only when it is whole, the
        page after its pictures.

    Raises
    ------
    InputError
        If a map does not fit its mask, or a scan's grids do not share their axes.
    """
    out_dir = Path(out_dir)
    folder = out_dir / f"sub-{report.label}" / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    sections = []
    for scan in report.scans:
        rows = tuple(_save(p, scan.stem, folder, out_dir) for p in scan_pictures(scan))
        grids = (
            ("3T input", *_grid(scan.before.mask)),
            ("7T-like output", *_grid(scan.after.mask)),
        )
        sections.append(ScanSection(scan, rows, grids, _orientation(scan)))
    page = out_dir / f"sub-{report.label}.html"
    write_whole(page, render(report, sections))
    pictures = [p for section in sections for row in section.rows for p in row.pictures]
    return [page, *(out_dir / picture.href for picture in pictures)]


def render(report: ParticipantReport, sections: Sequence[ScanSection]) -> str:
    """HTML of a page whose pictures are on disk."""
    methods = methods_text([(scan.stem, scan.methods) for scan in report.scans], report.versions)
    references = cited(methods)
    return render_template(
        "page.html.jinja",
        report=report,
        scans=sections,
        warnings=[s for s in sections if s.warnings],
        uncompared=sentences.uncompared(report.scans),
        corrections=sentences.corrections(report.scans),
        misfits=[s for s in sections if s.orientation and s.orientation.suspicious],
        methods=methods,
        references=[reference.text for reference in references],
        bibtex="\n\n".join(reference.bibtex for reference in references),
        ranges=_ranges(report.model),
        method_names=METHOD_NAMES,
        times=run_times(report.nodes, {s.workflow: s.stem for s in report.scans if s.workflow}),
    )


def page_pictures(page: str | Path) -> list[Path]:
    """Pictures that a page shows, in whatever folder it lies now."""
    text = Path(page).read_text(encoding="utf-8")
    return [Path(page).parent / name for name in re.findall(r'<img[^>]* src="([^"]+)"', text)]


def _save(pictures: MapPictures, stem: str, folder: Path, out_dir: Path) -> PictureRow:
    """Write the pictures of a map under the name of their scan."""
    saved = []
    for column, image in pictures.columns.items():
        path = folder / f"{stem}_{pictures.name}_{column}.png"
        write_whole(path, drawing.encode(image))
        href = path.relative_to(out_dir).as_posix()
        alt = f"{pictures.title}, {column}: axial, coronal and sagittal slice"
        saved.append(Picture(column, href, image.width, image.height, alt))
    return PictureRow(
        name=pictures.name,
        anchor=f"{stem}-{pictures.name}",
        title=pictures.title,
        caption=pictures.caption,
        layout=pictures.layout,
        pictures=tuple(saved),
    )


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


def _ranges(model: ModelCard) -> list[tuple[str, str]]:
    rows = []
    for name, (low, high) in model.ranges.items():
        word, unit = RANGE_WORDS.get(name, (name, ""))
        rows.append((word, f"{plain_number(low)} to {plain_number(high)} {unit}".strip()))
    return rows
