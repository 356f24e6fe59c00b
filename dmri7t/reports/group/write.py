"""The files of the group level: one table with its dictionary, and one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dmri7t import __version__
from dmri7t.files import strict_json, write_whole
from dmri7t.reports.group.columns import COLUMNS
from dmri7t.reports.group.outliers import FEWEST, LIMIT
from dmri7t.reports.group.page import render_group
from dmri7t.reports.group.records import Group, GroupScan

STEM = "group_dwi"
"""Name of the table, its dictionary and the page, at the root of the data set."""


def write_group(group: Group, out_dir: Path, command: str = "") -> list[Path]:
    """Write table, dictionary and page; each appears under its name when it is whole.

    Returns
    -------
    list of Path
        group_dwi.tsv, group_dwi.json, group_dwi.html.
    """
    texts = {
        "tsv": group_table(group.scans),
        "json": strict_json(group_dictionary()),
        "html": render_group(group, command),
    }
    paths = []
    for ending, text in texts.items():
        paths.append(Path(out_dir) / f"{STEM}.{ending}")
        write_whole(paths[-1], text)
    return paths


def group_table(scans: Sequence[GroupScan]) -> str:
    """One row a scan as TSV; n/a where a metric does not apply."""
    lines = ["\t".join(column.name for column in COLUMNS)]
    lines += ["\t".join(_cell(value) for value in scan.values.values()) for scan in scans]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def group_dictionary() -> dict[str, Any]:
    """What the columns are, as BIDS describes them."""
    dictionary: dict[str, Any] = {
        "GeneratedBy": {
            "Name": "dmri7t",
            "Version": __version__,
            "Description": "One row a scan; the page names scans whose modified z-score is beyond "
            f"{LIMIT} among at least {FEWEST} of the same protocol.",
        }
    }
    for column in COLUMNS:
        units = {"Units": column.units} if column.units else {}
        dictionary[column.name] = {"Description": column.text, **units}
    return dictionary
