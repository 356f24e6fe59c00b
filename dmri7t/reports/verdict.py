"""The one line with which the report of a scan opens."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from dmri7t.reports.alarms import Alarm
from dmri7t.reports.quality import QualityRecord, ShellQuality
from dmri7t.reports.template import percent

LEAST_TOLD = 0.01
"""Gain of the model that is worth a word."""


@attrs.frozen
class Verdict:
    """What is to be thought of a scan.

    Parameters
    ----------
    good : bool
        Whether nothing unusual was found.
    found, gained : str
        A sentence each: what was found, and how much better than interpolation the result is.
    """

    good: bool
    found: str
    gained: str


def judge(quality: QualityRecord, alarms: Sequence[Alarm]) -> Verdict:
    """Say what is to be thought of a scan."""
    loud = [alarm for alarm in alarms if alarm.loud]
    return Verdict(not loud, _found(quality, loud), gain_sentence(quality))


def _found(quality: QualityRecord, alarms: Sequence[Alarm]) -> str:
    if len(alarms) == 1:
        return f"Look here first: {_small(alarms[0].title)}."
    if alarms:
        titles = list(dict.fromkeys(_small(alarm.title) for alarm in alarms))
        return f"{len(alarms)} things to look at first: {'; '.join(titles)}."
    compared = all(shell.novelty for shell in quality.shells if shell.translated)
    if compared:
        return "Nothing unusual was found."
    return (
        "Nothing unusual was found, but the model cannot compare scans with its training data: "
        "lesions and artefacts that it does not know give no warning here."
    )


def _small(title: str) -> str:
    return title[0].lower() + title[1:]


def gain_sentence(quality: QualityRecord) -> str:
    """How much better than interpolation the result is: measured on the scan, or else foretold."""
    translated = [shell for shell in quality.shells if shell.translated]
    if not translated:
        return "No shell went through the model: the result is interpolated."
    measured = {s.name: text for s in translated if (text := _measured(s))}
    if len(translated) == 1 and measured:
        return f"Along directions that it was not shown, its signal is {measured.popitem()[1]}."
    if measured:
        by_shell = "; ".join(f"{name}: {text}" for name, text in measured.items())
        return f"Along directions that it was not shown, its signal is, {by_shell}."
    return _forecast(translated) or "How much was gained over interpolation is not known."


def _measured(shell: ShellQuality) -> str:
    """Words for the error along left-out directions; empty where it was not measured."""
    result = shell.evidence.error("result") if shell.evidence else None
    if shell.evidence is None or result is None:
        return ""
    if abs(1 - result.ratio) <= 2 * result.standard_error:
        return "as close to what was measured as interpolation on this scan"
    nearer = "closer to" if result.ratio < 1 else "farther from"
    text = (
        f"{percent(abs(1 - result.ratio))} {nearer} what was measured than interpolation on this "
        f"scan (± {percent(result.standard_error)})"
    )
    other, here = (shell.evidence.error_beside(name) for name in ("mppca", "result"))
    if other and here and other.ratio > 0:
        text += f", with an error {_change(here.ratio / other.ratio)} that of MP-PCA"
    return text + _sharpened(shell)


def _sharpened(shell: ShellQuality) -> str:
    """Words for what the model's sharpening gains on the scan made coarser; empty for nothing."""
    evidence = shell.evidence
    before, after = (evidence.error_coarser(n) if evidence else None for n in ("filter", "result"))
    if not (evidence and before and after) or before.ratio <= 0:
        return ""
    gain = 1 - after.ratio / before.ratio
    if gain < LEAST_TOLD:
        return ""
    return (
        f"; made {evidence.factor:.2f} times coarser and brought back, the model takes "
        f"{percent(gain)} off its error"
    )


def _forecast(shells: Sequence[ShellQuality]) -> str:
    """What like simulated scans gained in FA; empty without a forecast of it."""
    shell = next((s for s in shells if "FA" in s.expected), None)
    if shell is None:
        return ""
    expected = shell.expected["FA"]
    return (
        f"In simulated scans like it, the error of FA was {_change(expected.ratio)} that of "
        f"interpolation (in 8 of 10: {_change(expected.low)} to {_change(expected.high)}); on this "
        "scan itself it was not measured."
    )


def _change(ratio: float) -> str:
    """The ratio of two errors in words.

    Examples
    --------
    >>> _change(0.6), _change(1.25)
    ('40 % below', '25 % above')
    """
    return f"{percent(1 - ratio)} below" if ratio < 1 else f"{percent(ratio - 1)} above"
