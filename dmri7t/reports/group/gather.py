"""Gather the results of participants: scans, failures, and what does not go together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dmri7t.errors import InputError
from dmri7t.reports.group.records import Group, GroupScan
from dmri7t.reports.group.scans import read_scans, scan_records

STATUS = "sub-{label}_status.json"
"""Record of a participant's last run, in the folder of logs."""

MAKERS = {
    "model": ("model_name", "model_version", "model_sha256"),
    "version of dmri7t": ("software_version",),
}
"""Columns that say what made a result, by the word for it."""

WITHOUT_EFFECT = ("model", "device", "low_mem")
"""Settings that do not change a result."""


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
        Of the participants that are requested.
    sessions : sequence of str
        Labels of sessions that are requested; all if empty.
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
    failed = {label: reasons for label in labels if (reasons := last_failures(out_dir, label))}
    scans, broken = read_scans([r for label in labels for r in records[label]], threads)
    if not scans:
        reason = f" ({broken[0]})" if broken else ""
        raise InputError(
            f"{out_dir}: no results of {_some(labels)}{reason}; run the level participant first."
        )
    missing = [label for label in labels if not records[label] and label not in failed]
    unreported = [n for n in labels if records[n] and not (out_dir / f"sub-{n}.html").exists()]
    return Group(
        scans=tuple(scans),
        labels=tuple(labels),
        restricted=restricted,
        failed=failed,
        missing=tuple(missing),
        broken=tuple(broken),
        unreported=tuple(unreported),
        mixed=tuple(find_mixtures(scans)),
    )


def _some(labels: Sequence[str], most: int = 5) -> str:
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
    for word, columns in MAKERS.items():
        counts: Counter[str] = Counter()
        for scan in scans:
            if scan.values[columns[0]] is None:
                continue
            name, *rest = (str(scan.values[column]) for column in columns)
            counts[" ".join([name, *rest[:1], *(f"({r[:12]})" for r in rest[1:])])] += 1
        if len(counts) > 1:
            sentences.append(f"More than one {word}: {_counted(counts)}.")
    if len({scan.values["settings_sha256"] for scan in scans}) > 1:
        sentences += _mixed_settings(scans)
    return sentences


def _mixed_settings(scans: Sequence[GroupScan]) -> list[str]:
    sentences = []
    for name in dict.fromkeys(name for scan in scans for name in scan.settings):
        if name in WITHOUT_EFFECT or name.startswith("model_"):
            continue
        counts = Counter(json.dumps(scan.settings.get(name, "not set")) for scan in scans)
        if len(counts) > 1:
            sentences.append(f"Scans were made with different {name}: {_counted(counts)}.")
    return sentences


def _counted(counts: Counter[str]) -> str:
    return "; ".join(f"{text} in {n} {'scan' if n == 1 else 'scans'}" for text, n in counts.items())
