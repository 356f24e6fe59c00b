"""The page of a participant: one HTML file that needs nothing but its own pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import attrs
from PIL import Image

from dmri7t.files import write_whole
from dmri7t.reports import drawing, sentences
from dmri7t.reports.alarms import alarm_picture, find_alarms
from dmri7t.reports.boilerplate import methods_text
from dmri7t.reports.citations import cited
from dmri7t.reports.orientation import OrientationCheck, check_orientation
from dmri7t.reports.pictures import scan_pictures, thumbnails
from dmri7t.reports.records import THUMBNAIL, ModelCard, ParticipantReport, ScanReport
from dmri7t.reports.scan_views import ScanViews
from dmri7t.reports.template import plain_number, render_template
from dmri7t.reports.times import run_times
from dmri7t.reports.verdict import Verdict, judge
from dmri7t.reports.viewer import render_viewer
from dmri7t.reports.views import View, read_values

RANGE_WORDS = {
    "voxel_size_mm": ("voxel size", "mm"),
    "bval": ("b-value", "s/mm²"),
    "n_directions": ("directions", ""),
    "snr": ("signal-to-noise of the b0", ""),
}


@attrs.frozen
class Picture:
    """A picture on disk as the page shows it; ``alt`` is read to those who cannot see it."""

    column: str
    word: str
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
    pictures: tuple[Picture, ...]

    @property
    def flickers(self) -> bool:
        """Whether it begins with a picture before and one after."""
        return [p.column for p in self.pictures[:2]] == ["before", "after"]


@attrs.frozen
class ShownAlarm:
    """An alarm, and a picture of its place on disk where it has one."""

    title: str
    text: str
    loud: bool
    picture: Picture | None = None


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
    alarms : tuple of ShownAlarm
        What to look at first.
    verdict : Verdict
    viewer : str
        Link to its viewer; empty where NiiVue is not installed.
    """

    scan: ScanReport
    rows: tuple[PictureRow, ...]
    grids: tuple[tuple[str, str, str], ...]
    orientation: OrientationCheck | None
    alarms: tuple[ShownAlarm, ...]
    verdict: Verdict
    viewer: str

    @property
    def anchor(self) -> str:
        """Of the section, for links."""
        return self.scan.stem

    @property
    def repairs(self) -> list[tuple[str, int]]:
        """What was set to another value, and how many values."""
        return sentences.repairs(self.scan.quality)

    @property
    def remarks(self) -> list[str]:
        """Sentences on how the scan was processed."""
        own = [f"{text[:1].upper()}{text[1:]}." for text in self.scan.remarks]
        quality = self.scan.quality
        return [*own, *sentences.shares(quality.shells), *sentences.remarks(quality)]

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
        The page first, then pictures and viewers. Each appears under its name only when it is
        whole, the page last.

    Raises
    ------
    InputError
        If a map does not fit its mask, or a scan's grids do not share their axes.
    """
    out_dir = Path(out_dir)
    folder = out_dir / f"sub-{report.label}" / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    folders = Folders(out_dir, folder)
    sections, written = [], []
    for scan in report.scans:
        section, paths = _write_scan(scan, folders)
        sections.append(section)
        written += paths
    page = out_dir / f"sub-{report.label}.html"
    write_whole(page, render(report, sections))
    return [page, *written]


@attrs.frozen
class Folders:
    """Root of the data set, and the folder of a participant's pictures in it."""

    root: Path
    figures: Path

    def write(self, name: str, content: bytes | str) -> tuple[Path, str]:
        """Write a file among the pictures; return where it lies, and the link to it."""
        path = self.figures / name
        write_whole(path, content)
        return path, path.relative_to(self.root).as_posix()


def _write_scan(scan: ScanReport, folders: Folders) -> tuple[ScanSection, list[Path]]:
    """Write the pictures and the viewer of a scan; return its part of the page, and the files."""
    views, stem = ScanViews(scan.before, scan.after), scan.stem
    written: list[Path] = []

    def save(name: str, column: str, image: Image.Image, alt: str, word: str = "") -> Picture:
        path, href = folders.write(f"{stem}_{name}_{column}.jpg", drawing.encode(image))
        written.append(path)
        return Picture(column, word or column.capitalize(), href, image.width, image.height, alt)

    rows = []
    for p in scan_pictures(scan, views):
        pictures = tuple(
            save(p.name, column, image, f"{p.title}, {column}", p.words.get(column, ""))
            for column, image in p.columns.items()
        )
        rows.append(PictureRow(p.name, f"{stem}-{p.name}", p.title, p.caption, pictures))
    orientation = _orientation(scan, views.before)
    alarms, shown = find_alarms(scan, views.before, orientation), []
    for number, alarm in enumerate(alarms, start=1):
        picture = None
        if alarm.place_3 is not None:
            image = alarm_picture(alarm, scan.before, views.before)
            picture = save("alarm", str(number), image, f"{alarm.title}: where it is")
        shown.append(ShownAlarm(alarm.title, alarm.text, alarm.loud, picture))
    for side, image in thumbnails(scan, views).items():
        save(THUMBNAIL, side, image, "")
    viewer, text = "", render_viewer(scan, views)
    if text:
        path, viewer = folders.write(f"{stem}_viewer.html", text)
        written.append(path)
    section = ScanSection(
        scan=scan,
        rows=tuple(rows),
        grids=(("3T input", *_grid(views.before)), ("7T-like output", *_grid(views.after))),
        orientation=orientation,
        alarms=tuple(shown),
        verdict=judge(scan.quality, alarms),
        viewer=viewer,
    )
    return section, written


def render(report: ParticipantReport, sections: Sequence[ScanSection]) -> str:
    """HTML of a page whose pictures are on disk."""
    methods = methods_text([(scan.stem, scan.methods) for scan in report.scans], report.versions)
    references = cited(methods)
    return render_template(
        "page.html.jinja",
        report=report,
        scans=sections,
        corrections=sentences.corrections(report.scans),
        origin=sentences.origin(report.scans, report.model.simulated),
        methods=methods,
        references=[reference.text for reference in references],
        bibtex="\n\n".join(reference.bibtex for reference in references),
        ranges=_ranges(report.model),
        times=run_times(report.nodes, {s.workflow: s.stem for s in report.scans if s.workflow}),
    )


def page_pictures(page: str | Path) -> list[Path]:
    """Pictures and viewers that a page shows or leads to, in whatever folder it lies now."""
    text = Path(page).read_text(encoding="utf-8")
    names = re.findall(r' (?:src|href)="([^"#:]+/figures/[^"]+)"', text)
    return [Path(page).parent / unquote(name) for name in dict.fromkeys(names)]


def _orientation(scan: ScanReport, view: View) -> OrientationCheck | None:
    maps = scan.before
    if maps.fa is None or maps.direction is None:
        return None
    return check_orientation(view, read_values(maps.fa, view), read_values(maps.direction, view))


def _grid(view: View) -> tuple[str, str]:
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
