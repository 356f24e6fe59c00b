"""The page of a group: how the metrics of all scans are spread, and which scans stand out."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from markupsafe import Markup

from dmri7t import __version__
from dmri7t.reports.group.columns import COLUMNS
from dmri7t.reports.group.outliers import FEWEST, LIMIT, Outliers, find_outliers
from dmri7t.reports.group.records import Column, Group, GroupScan
from dmri7t.reports.group.strips import Dot, Strip, draw
from dmri7t.reports.template import render_template

MOST_STRIPS = 6
"""Protocols that have a strip of their own; scans of rarer ones share one."""

REST = "other protocols"

MIXED = Outliers({}, "they are of several protocols")
"""Unlike scans have no common median."""


@attrs.frozen
class Outlier:
    """A scan that stands out in a metric, by its value there."""

    scan: GroupScan
    column: Column
    score: float
    value: float


@attrs.frozen
class MetricPlot:
    """The distribution of one metric.

    Parameters
    ----------
    column : Column
    drawing : Markup
        Strips of dots as SVG.
    outliers : tuple of Outlier
    not_judged : tuple of str
        Why outliers were not looked for in some of the strips.
    """

    column: Column
    drawing: Markup
    outliers: tuple[Outlier, ...]
    not_judged: tuple[str, ...]


def render_group(group: Group, command: str = "") -> str:
    """HTML of the page."""
    protocols = split_protocols(group.scans)
    plotted = {column: plot_column(column, protocols) for column in COLUMNS if column.title}
    plots = [plot for plot in plotted.values() if plot is not None]
    outliers = sorted(
        (outlier for plot in plots for outlier in plot.outliers),
        key=lambda o: (o.scan.stem, -abs(o.score)),
    )
    by_stem: dict[str, list[Outlier]] = {}
    for outlier in outliers:
        by_stem.setdefault(outlier.scan.stem, []).append(outlier)
    return render_template(
        "group/group.html.jinja",
        group=group,
        version=__version__,
        command=command,
        protocols=protocols,
        plots=plots,
        empty=[column.title for column, plot in plotted.items() if plot is None],
        outliers=by_stem,
        odd={stem: {o.column.name for o in some} for stem, some in by_stem.items()},
        judged=any(len(scans) >= FEWEST for scans in protocols.values()),
        columns=COLUMNS,
        limit=LIMIT,
        fewest=FEWEST,
    )


def split_protocols(scans: Sequence[GroupScan]) -> dict[str, list[GroupScan]]:
    """Scans by protocol, the most frequent first; rare ones together where there are many."""
    protocols: dict[str, list[GroupScan]] = {}
    for scan in scans:
        protocols.setdefault(scan.values["protocol"], []).append(scan)
    ordered = sorted(protocols.items(), key=lambda item: (-len(item[1]), item[0]))
    if len(ordered) <= MOST_STRIPS:
        return dict(ordered)
    rest = [scan for _, some in ordered[MOST_STRIPS - 1 :] for scan in some]
    return {**dict(ordered[: MOST_STRIPS - 1]), REST: rest}


def plot_column(column: Column, protocols: dict[str, list[GroupScan]]) -> MetricPlot | None:
    """Plot a column, a strip for each protocol; None where no scan has a value."""
    strips, outliers = [], []
    reasons: dict[str, list[str]] = {}
    for protocol, scans in protocols.items():
        values = [scan.values[column.name] for scan in scans]
        result = MIXED if protocol == REST else find_outliers(values, column.skewed)
        dots = tuple(
            Dot(column.factor * value, scan.stem, scan.href, index in result.scores)
            for index, (scan, value) in enumerate(zip(scans, values, strict=True))
            if value is not None
        )
        if not dots:
            continue
        strips.append(Strip(protocol, dots))
        outliers += [
            Outlier(scans[i], column, score, column.factor * values[i])
            for i, score in result.scores.items()
        ]
        if result.reason:
            reasons.setdefault(result.reason, []).append(protocol)
    if not strips:
        return None
    # a reason that holds for all strips needs no names
    not_judged = tuple(
        reason if len(names) == len(strips) else f"{' and '.join(names)}: {reason}"
        for reason, names in reasons.items()
    )
    drawing = draw(strips, f"{column.title}, a dot for each scan")
    return MetricPlot(column, drawing, tuple(outliers), not_judged)
