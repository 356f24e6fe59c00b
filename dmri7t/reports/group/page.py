"""The page of a group: how the figures of all scans are spread, and which stand out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from dmri7t import __version__
from dmri7t.reports.group.outliers import FEWEST, LIMIT, Judged, judge
from dmri7t.reports.group.scans import COLUMNS, Column, GroupScan
from dmri7t.reports.group.strips import Dot, Strip, draw
from dmri7t.reports.page import render_template

if TYPE_CHECKING:
    from dmri7t.reports.group.write import Group

MOST_STRIPS = 6
"""Protocols that have a strip of their own; scans of rarer ones share one."""

REST = "other protocols"


@dataclass(frozen=True)
class GroupFigure:
    """A figure: its strips, and why some of them were not judged."""

    anchor: str
    title: str
    text: str
    drawing: Markup
    not_judged: tuple[str, ...]


@dataclass(frozen=True)
class Outlier:
    """A scan that stands out in a figure, by its value there."""

    scan: GroupScan
    column: Column
    score: float
    value: float


def render_group(group: Group, command: str = "") -> str:
    """HTML of the page."""
    protocols = split_protocols(group.scans)
    figures, outliers, empty = [], [], []
    for column in (c for c in COLUMNS if c.title):
        drawn = draw_column(column, protocols)
        if drawn is None:
            empty.append(column.title)
            continue
        figures.append(drawn[0])
        outliers += drawn[1]
    outliers.sort(key=lambda o: (o.scan.stem, -abs(o.score)))
    odd: dict[str, set[str]] = {}
    for outlier in outliers:
        odd.setdefault(outlier.scan.stem, set()).add(outlier.column.name)
    return render_template(
        "group/group.html.jinja",
        group=group,
        version=__version__,
        command=command,
        protocols=protocols,
        figures=figures,
        empty=empty,
        odd=odd,
        by_scan=_by_scan(outliers),
        judged=any(len(scans) >= FEWEST for scans in protocols.values()),
        columns=COLUMNS,
        limit=LIMIT,
        fewest=FEWEST,
    )


def split_protocols(scans: tuple[GroupScan, ...]) -> dict[str, list[GroupScan]]:
    """Scans by protocol, the most frequent first; rare ones together where there are many."""
    found: dict[str, list[GroupScan]] = {}
    for scan in scans:
        found.setdefault(scan.values["protocol"], []).append(scan)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    if len(ordered) <= MOST_STRIPS:
        return dict(ordered)
    rest = [scan for _, some in ordered[MOST_STRIPS - 1 :] for scan in some]
    return {**dict(ordered[: MOST_STRIPS - 1]), REST: rest}


def draw_column(
    column: Column, protocols: dict[str, list[GroupScan]]
) -> tuple[GroupFigure, list[Outlier]] | None:
    """Figure of a column, and the scans that stand out in it; None where no scan has a value."""
    strips, outliers, not_judged = [], [], {}
    for protocol, scans in protocols.items():
        values = [scan.values[column.name] for scan in scans]
        # unlike scans have no common middle
        mixed = Judged({}, "they are of several protocols")
        judged = mixed if protocol == REST else judge(values, column.skewed)
        dots = tuple(
            Dot(column.factor * value, scan.stem, scan.href, place in judged.scores)
            for place, (scan, value) in enumerate(zip(scans, values, strict=True))
            if value is not None
        )
        if not dots:
            continue
        strips.append(Strip(protocol, dots))
        outliers += [
            Outlier(scans[i], column, score, column.factor * values[i])
            for i, score in judged.scores.items()
        ]
        if judged.why_not:
            not_judged.setdefault(judged.why_not, []).append(protocol)
    if not strips:
        return None
    # what holds for all of them needs no names
    told = tuple(
        why if len(names) == len(strips) else f"{' and '.join(names)}: {why}"
        for why, names in not_judged.items()
    )
    drawing = draw(strips, f"{column.title}, a dot for each of the scans")
    return GroupFigure(column.name, column.title, column.text, drawing, told), outliers


def _by_scan(outliers: list[Outlier]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for outlier in outliers:
        row = found.setdefault(outlier.scan.stem, {"scan": outlier.scan, "figures": []})
        row["figures"].append(outlier)
    return list(found.values())
