"""What every command must keep to, however it ends; and the endings that cases ask for."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from trials.case import Check, Ending, Run
from trials.place import LABELS, Place

LINE_LENGTH = 600
"""Longest line of an error, paths and other names left out, which may be long."""

CODES = (0, 1, 2, 130, 143)


def faults_of_any(run: Run, before: set[str]) -> Iterator[str]:
    """What no command may do.

    Parameters
    ----------
    run : Run
    before : set of str
        What lay in the place's root.
    """
    killed = run.code is not None and run.code < 0
    if run.code is None:
        yield f"did not end in {run.seconds:.0f} s"
    elif not killed and run.code not in CODES:
        yield f"exit code {run.code}"
    if "Traceback" in run.stdout + run.stderr:
        yield "prints a traceback"
    if run.left:
        yield f"leaves processes: {'; '.join(run.left)[:200]}"
    for line in run.stderr.splitlines():
        if not re.match(r"dmri7t(-model( \w+)?)?: ", line):
            yield f"stderr has {line[:120]!r}"
            break
        words = re.sub(r"\S{60,}", "", line)
        if len(words) > LINE_LENGTH:
            yield f"stderr has a line of {len(words)} characters, names left out"
    place = run.place
    new = {p.name for p in place.root.iterdir()} - before - {"out", "work"}
    if new:
        yield f"leaves {', '.join(sorted(new))} in the current folder"
    if not killed:
        yield from faults_of_output(place)


def faults_of_output(place: Place) -> Iterator[str]:
    """What may not lie in the output: parts, locks, half-written files."""
    for path in sorted(place.out.rglob("*")) if place.out.is_dir() else []:
        name = path.relative_to(place.root)
        if ".part-" in path.name:
            yield f"leaves {name}"
        elif path.name.endswith(".lock"):
            yield f"leaves {name}"
        elif path.is_file():
            if fault := fault_of_file(path):
                yield f"{name}: {fault}"


def fault_of_file(path: Path) -> str:
    """Say what makes a file half-written or unreadable."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_bytes().decode(), parse_constant=_no_constant)
        elif path.name.endswith(".nii.gz"):
            with gzip.open(path) as stream:
                while stream.read(1 << 24):
                    pass
        elif path.suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
            return "does not end as a page does"
        elif path.stat().st_size == 0:
            return "is empty"
    except (ValueError, OSError, EOFError, zlib.error) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


@attrs.frozen
class Right:
    """All participants are done, and oracles agree.

    Parameters
    ----------
    checks : tuple of callable
    labels : tuple of str
        Who must be done; nobody where nothing is to be computed.
    """

    checks: tuple[Check, ...] = ()
    labels: tuple[str, ...] = LABELS
    kind: str = attrs.field(default="right", init=False)

    def fault(self, run: Run) -> str:
        """See that the code is 0, that everybody has results, and ask the oracles."""
        if run.code != 0:
            return f"exit code {run.code}, not 0: {_last(run)}"
        for label in self.labels:
            if fault := fault_of_done(run, label):
                return fault
        return next((fault for check in self.checks if (fault := check(run))), "")


def right(*checks: Check, labels: tuple[str, ...] = LABELS) -> tuple[Right]:
    """All participants are done, and these oracles agree."""
    return (Right(checks, labels),)


def fault_of_done(run: Run, label: str) -> str:
    """Say what a participant lacks who should be done."""
    if not re.search(rf"^sub-{label} done", run.stdout, re.MULTILINE):
        return f"sub-{label} is not done: {_last(run)}"
    for path in (run.place.result(label), run.place.out / f"sub-{label}.html"):
        if not path.is_file():
            return f"{path.name} is missing"
    record = json.loads((run.place.out / f"logs/sub-{label}_status.json").read_text())
    return "" if record["done"] else f"the record says that sub-{label} is not done"


@attrs.frozen
class Refused:
    """One line, which names the file and a remedy; nothing is written.

    Parameters
    ----------
    says : tuple of str
        Patterns, all of which the lines on standard error must match.
    code : int
    lines : int
        Of standard error.
    """

    says: tuple[str, ...]
    code: int = 2
    lines: int = 1
    kind: str = attrs.field(default="clear error", init=False)

    def fault(self, run: Run) -> str:
        """See that there is one line that says it, and no results."""
        if run.code != self.code:
            return f"exit code {run.code}, not {self.code}: {_last(run)}"
        lines = [x for x in run.stderr.splitlines() if not x.startswith("dmri7t: warning:")]
        if len(lines) != self.lines:
            return f"{len(lines)} lines on stderr, not {self.lines}: {_last(run)}"
        for pattern in self.says:
            if not re.search(pattern, " ".join(lines)):
                return f"does not say {pattern!r}: {lines[0][:300]}"
        results = [p for p in run.place.out.rglob("sub-*") if p.is_file() and "logs" not in p.parts]
        return f"leaves {results[0].name}" if results else ""


def refused(*says: str, code: int = 2, lines: int = 1) -> tuple[Refused]:
    """One clear line with these patterns."""
    return (Refused(says, code, lines),)


@attrs.frozen
class Fails:
    """One participant fails, with his reason everywhere; the others are done.

    Parameters
    ----------
    says : tuple of str
        Patterns that his reason must match, all of them.
    label : str
    others : tuple of str
        Who is done.
    checks : tuple of callable
        Oracles that must agree besides.
    in_the_way : tuple of str
        Names of files under his name that are not of the run.
    """

    says: tuple[str, ...]
    label: str = "01"
    others: tuple[str, ...] = ("02",)
    checks: tuple[Check, ...] = ()
    in_the_way: tuple[str, ...] = ()
    kind: str = attrs.field(default="clear error", init=False)

    def fault(self, run: Run) -> str:
        """Look at summary, record, and what is left of him."""
        if run.code != 1:
            return f"exit code {run.code}, not 1: {_last(run)}"
        for label in self.others:
            if fault := fault_of_done(run, label):
                return fault
        said = re.findall(rf"^sub-{self.label} FAILED: (.*)$", run.stdout, re.MULTILINE)
        if not said:
            return f"the summary does not say why sub-{self.label} failed: {_last(run)}"
        record_file = run.place.out / f"logs/sub-{self.label}_status.json"
        record = json.loads(record_file.read_text())
        reasons = " ".join(failure["reason"] for failure in record["failures"])
        for pattern in self.says:
            for where, text in (("summary", " ".join(said)), ("record", reasons)):
                if not re.search(pattern, text):
                    return f"the {where} does not say {pattern!r}: {text[:300]}"
        own = [p for p in run.place.out.glob(f"sub-{self.label}*") if p.is_file()]
        own += [p for p in (run.place.out / f"sub-{self.label}").rglob("*") if p.is_file()]
        own = [path for path in own if path.name not in self.in_the_way]
        if own:
            return f"leaves {own[0].name} of him who failed"
        return next((fault for check in self.checks if (fault := check(run))), "")


def fails(
    *says: str,
    label: str = "01",
    others: tuple[str, ...] = ("02",),
    checks: tuple[Check, ...] = (),
    in_the_way: tuple[str, ...] = (),
) -> tuple[Fails]:
    """One participant fails for a reason with these patterns."""
    return (Fails(says, label, others, checks, in_the_way),)


@attrs.frozen
class Stopped:
    """A signal ended it: the code says so, and so does one line.

    Parameters
    ----------
    code : int
    early : bool
        Whether it may have come before Python could listen: then the system ends the process.
    """

    code: int
    early: bool = False
    kind: str = attrs.field(default="interrupted", init=False)

    def fault(self, run: Run) -> str:
        """See that it was ended, and says so."""
        if not run.struck:
            return "ended before it could be struck"
        if run.code is not None and run.code < 0 and (self.early or self.code < 0):
            return ""
        if run.code != self.code:
            return f"exit code {run.code}, not {self.code}: {_last(run)}"
        lines = run.stderr.splitlines()
        return "" if len(lines) == 1 and "interrupted" in lines[0] else f"says {lines}"


def stopped(code: int, early: bool = False) -> tuple[Stopped]:
    """Ended by a signal."""
    return (Stopped(code, early),)


@attrs.frozen
class Ends:
    """Whatever the code is of these: for cases in which more than one is true.

    Parameters
    ----------
    codes : tuple of int
    checks : tuple of callable
    """

    codes: tuple[int, ...]
    checks: tuple[Check, ...] = ()
    kind: str = attrs.field(default="right", init=False)

    def fault(self, run: Run) -> str:
        """See the code, and ask the oracles."""
        if run.code not in self.codes:
            return f"exit code {run.code}, none of {self.codes}: {_last(run)}"
        return next((fault for check in self.checks if (fault := check(run))), "")


def ending_of(ends: Sequence[Ending], run: Run) -> tuple[str, str]:
    """Kind of the first ending that a run had, of those that are allowed; else what is wrong."""
    wrong = [end.fault(run) for end in ends]
    kinds = [end.kind for end, fault in zip(ends, wrong, strict=True) if not fault]
    return (kinds[0], "") if kinds else ("", " / ".join(wrong))


def _last(run: Run) -> str:
    """The last line that a run printed, of stderr first."""
    lines = run.stderr.splitlines() or run.stdout.splitlines() or ["nothing"]
    return lines[-1][:300]
