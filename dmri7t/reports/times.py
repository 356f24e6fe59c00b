"""The run times of a participant's nodes as a bar chart."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from dmri7t.reports.records import NodeTime

SHOWN_SECONDS = 0.1
"""Nodes that took less are only counted."""


@attrs.frozen
class Bar:
    """One node.

    Parameters
    ----------
    name : str
        Without the scan's workflow.
    seconds, peak_gb : float
    width : float
        Per cent of the longest.
    earlier : bool
        Whether its result was there from an earlier run.
    """

    name: str
    seconds: float
    peak_gb: float
    width: float
    earlier: bool


@attrs.frozen
class BarGroup:
    """Nodes of one scan, or of the participant as a whole."""

    title: str
    rows: tuple[Bar, ...]


@attrs.frozen
class RunTimes:
    """Run times of all nodes.

    Parameters
    ----------
    groups : tuple of BarGroup
    n_short : int
        Nodes that are not shown.
    seconds : float
        Of all nodes together.
    has_memory : bool
        Whether peak memory was measured.
    """

    groups: tuple[BarGroup, ...]
    n_short: int
    seconds: float
    has_memory: bool


def run_times(
    nodes: Sequence[NodeTime], workflows: dict[str, str] | None = None
) -> RunTimes | None:
    """Rows of a bar chart, the longest the full width; None without nodes.

    Parameters
    ----------
    nodes : sequence of NodeTime
    workflows : dict, optional
        Title of every scan by its workflow's name, with which its nodes begin; one title for
        each group of rows.

    Examples
    --------
    >>> nodes = (NodeTime("a_wf.fit", 3.0), NodeTime("b_wf.small", 0.01), NodeTime("b_wf.x", 1.5))
    >>> times = run_times(nodes, {"a_wf": "scan a", "b_wf": "scan b"})
    >>> [(g.title, [(row.name, row.width) for row in g.rows]) for g in times.groups]
    [('scan a', [('fit', 100.0)]), ('scan b', [('x', 50.0)])]
    >>> times.n_short, times.seconds
    (1, 4.51)
    """
    if not nodes:
        return None
    titles = workflows or {}
    longest = max(node.seconds for node in nodes) or 1.0
    bars: dict[str, list[Bar]] = {name: [] for name in titles}
    shown = [node for node in nodes if node.seconds >= SHOWN_SECONDS]
    for node in shown:
        workflow, _, rest = node.name.partition(".")
        of_scan = bool(rest) and workflow in titles
        bar = Bar(
            name=(rest if of_scan else node.name).replace("_wf.", "."),
            seconds=node.seconds,
            peak_gb=node.peak_gb,
            width=round(100 * node.seconds / longest, 1),
            earlier=node.state != "done",
        )
        bars.setdefault(workflow if of_scan else "", []).append(bar)
    groups = [
        BarGroup(titles.get(name, "Whole participant"), tuple(rows))
        for name, rows in bars.items()
        if rows
    ]
    return RunTimes(
        groups=tuple(groups),
        n_short=len(nodes) - len(shown),
        seconds=sum(node.seconds for node in nodes),
        has_memory=any(node.peak_gb for node in shown),
    )
