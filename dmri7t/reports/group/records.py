"""Records of the group level: a column, a scan, and the group."""

from __future__ import annotations

from typing import Any

import attrs


@attrs.frozen
class Column:
    """A column of the table.

    Parameters
    ----------
    name : str
    text : str
        What it is, a sentence.
    units : str
        As BIDS writes them; empty where there are none.
    title : str
        Of its strip on the page; empty where it has none.
    skewed : bool
        Whether its values crowd above zero and have a long tail.
    factor : float
        By which values are multiplied on the page, for its units.
    """

    name: str
    text: str
    units: str = ""
    title: str = ""
    skewed: bool = False
    factor: float = 1


@attrs.frozen
class GroupScan:
    """One scan.

    Parameters
    ----------
    stem : str
        Name of the source without its suffix, such as ``sub-01_dir-AP``.
    label : str
        Of the participant.
    values : dict
        By the name of the column; None where a metric does not apply.
    settings : dict
        Of the run that made it, by name.
    outside : tuple of str
        Sentences that say where the scan lies outside what the model was trained on.
    thumbnails : tuple of str
        Links to its pictures of FA before and after; empty where its report has none.
    """

    stem: str
    label: str
    values: dict[str, Any]
    settings: dict[str, Any] = attrs.field(factory=dict)
    outside: tuple[str, ...] = ()
    thumbnails: tuple[str, ...] = ()

    @property
    def href(self) -> str:
        """Link to the scan in its participant's report."""
        return f"sub-{self.label}.html#{self.stem}"


@attrs.frozen
class Group:
    """The results of the participants that were requested.

    Parameters
    ----------
    scans : tuple of GroupScan
    labels : tuple of str
        Participants that were requested.
    restricted : bool
        Whether these are not all of the data set.
    failed : dict
        Reasons by label, from the record of the participant's last run.
    missing : tuple of str
        Labels of participants in the data set that have neither results nor such a record.
    broken : tuple of str
        A sentence for every scan whose results are not whole.
    unreported : tuple of str
        Labels of participants with results, but without a report.
    mixed : tuple of str
        Sentences about results of several models, versions or settings.
    """

    scans: tuple[GroupScan, ...]
    labels: tuple[str, ...]
    restricted: bool = False
    failed: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    missing: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    unreported: tuple[str, ...] = ()
    mixed: tuple[str, ...] = ()
