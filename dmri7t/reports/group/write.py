"""All scans of a derivative data set: one table with its dictionary, and one page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmri7t import __version__
from dmri7t.errors import InputError
from dmri7t.files import whole_file
from dmri7t.reports.group.outliers import FEWEST, LIMIT
from dmri7t.reports.group.page import render_group
from dmri7t.reports.group.scans import COLUMNS, GroupScan, read_scans, scan_records

STEM = "group_dwi"
"""Name of the table, its dictionary and the page, at the root of the data set."""

PLACES = ("model", "device", "low_mem")
"""Settings that do not decide a result."""

STATUS = "sub-{label}_status.json"
"""Record of a participant's last run, in the folder of logs."""


@dataclass(frozen=True)
class Group:
    """What is known of the participants that were asked for.

    Parameters
    ----------
    scans : tuple of GroupScan
    asked : tuple of str
        Labels that were asked for.
    restricted : bool
        Whether these are not all of the data set.
    failed : dict
        Reasons by label, from the record of the participant's last run.
    missing : tuple of str
        Labels of participants in the data set that have neither results nor such a record.
    broken : tuple of str
        A sentence for every scan whose results are not whole.
    pageless : tuple of str
        Labels of participants with results, but without a report.
    mixed : tuple of str
        Sentences about results of several models, versions or settings.
    """

    scans: tuple[GroupScan, ...]
    asked: tuple[str, ...]
    restricted: bool = False
    failed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    pageless: tuple[str, ...] = ()
    mixed: tuple[str, ...] = ()


def gather_group(
    out_dir: Path,
    labels: Sequence[str],
    sessions: Sequence[str] = (),
    restricted: bool = False,
    threads: int = 1,
) -> Group:
    """Read all results of participants.

    Parameters
    ----------
    out_dir : Path
        Root of the derivative data set.
    labels : sequence of str
        Of the participants that are wanted.
    sessions : sequence of str
        Labels of sessions that are wanted; all if empty.
    restricted : bool
        Whether the labels or sessions are not all there are.
    threads : int
        Scans that are read side by side.

    Raises
    ------
    InputError
        If there is no scan with results.
    """
    out_dir = Path(out_dir)
    records = {label: scan_records(out_dir, label, sessions) for label in labels}
    failed = {label: found for label in labels if (found := last_failures(out_dir, label))}
    scans, broken = read_scans([r for label in labels for r in records[label]], threads)
    if not scans:
        wrong = f" ({broken[0]})" if broken else ""
        raise InputError(
            f"{out_dir}: no results of {_names(labels)}{wrong}; run the level participant first."
        )
    missing = [label for label in labels if not records[label] and label not in failed]
    pageless = [n for n in labels if records[n] and not (out_dir / f"sub-{n}.html").exists()]
    return Group(
        scans=tuple(scans),
        asked=tuple(labels),
        restricted=restricted,
        failed=failed,
        missing=tuple(missing),
        broken=tuple(broken),
        pageless=tuple(pageless),
        mixed=tuple(find_mixtures(scans)),
    )


def _names(labels: Sequence[str], most: int = 5) -> str:
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return ", ".join(f"sub-{label}" for label in labels[:most]) + more


def last_failures(out_dir: Path, label: str) -> tuple[str, ...]:
    """Why a participant's last run failed; empty where it did not, or where there is no record."""
    path = Path(out_dir) / "logs" / STATUS.format(label=label)
    try:
        failures = json.loads(path.read_text())["failures"]
        return tuple(": ".join(filter(None, (f["node"], f["reason"]))) for f in failures)
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        return (f"{path.name} cannot be read ({type(error).__name__}: {error})",)


def find_mixtures(scans: Sequence[GroupScan]) -> list[str]:
    """Sentences about results that were not all made in the same way."""
    sentences = []
    makers = {
        "model": ("model_name", "model_version", "model_sha256"),
        "version of dmri7t": ("software_version",),
    }
    for word, columns in makers.items():
        counts: dict[str, int] = {}
        for scan in scans:
            name, *rest = (str(scan.values[column]) for column in columns)
            text = " ".join([name, *rest[:1], *(f"({r[:12]})" for r in rest[1:])])
            counts[text] = counts.get(text, 0) + 1
        if len(counts) > 1:
            sentences.append(f"More than one {word}: {_counted(counts)}.")
    if len({scan.values["settings_sha256"] for scan in scans}) > 1:
        sentences += _mixed_settings(scans)
    return sentences


def _mixed_settings(scans: Sequence[GroupScan]) -> list[str]:
    found = []
    names = {name: None for scan in scans for name in scan.settings}
    for name in names:
        if name in PLACES or name.startswith("model_"):
            continue
        counts: dict[str, int] = {}
        for scan in scans:
            text = json.dumps(scan.settings.get(name, "not set"))
            counts[text] = counts.get(text, 0) + 1
        if len(counts) > 1:
            found.append(f"Scans were made with different {name}: {_counted(counts)}.")
    return found


def _counted(counts: dict[str, int]) -> str:
    return "; ".join(f"{text} in {n} {'scan' if n == 1 else 'scans'}" for text, n in counts.items())


def write_group(group: Group, out_dir: Path, command: str = "") -> list[Path]:
    """Write table, dictionary and page; each appears under its name when it is whole.

    Returns
    -------
    list of Path
        group_dwi.tsv, group_dwi.json, group_dwi.html.
    """
    texts = {
        "tsv": group_table(group.scans),
        "json": json.dumps(group_dictionary(), indent=2) + "\n",
        "html": render_group(group, command),
    }
    written = []
    for ending, text in texts.items():
        written.append(Path(out_dir) / f"{STEM}.{ending}")
        with whole_file(written[-1]) as part:
            part.write_text(text, encoding="utf-8")
    return written


def group_table(scans: Sequence[GroupScan]) -> str:
    """One row a scan as TSV; n/a where a figure does not apply."""
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
    described: dict[str, Any] = {
        "GeneratedBy": {
            "Name": "dmri7t",
            "Version": __version__,
            "Description": "One row a scan; the page names scans whose modified z-score is beyond "
            f"{LIMIT} among at least {FEWEST} of the same protocol.",
        }
    }
    for column in COLUMNS:
        units = {"Units": column.units} if column.units else {}
        described[column.name] = {"Description": column.text, **units}
    return described
