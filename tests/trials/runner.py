"""Trying cases, judging them, and the tally."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from zlib import crc32

import attrs
import psutil

from dmri7t.models.bundle import resolve_model
from dmri7t.progress import Progress, note
from trials.case import Case
from trials.execute import as_from_a_terminal, execute
from trials.judge import ending_of, faults_of_any
from trials.place import Place, once, tree_digest
from trials.together import batches, try_together, weight_of

NOT_TRIED = "not tried"

AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")

STARTS_ITSELF = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import torch']"

NEEDS = {
    # to become another user, who may use this Python and what it starts
    "nobody": [*AS_NOBODY, sys.executable, "-c", f"{STARTS_ITSELF}, check=True)"],
    "tmpfs": ["unshare", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"],
}
"""Commands that succeed where a machine has something."""

CASE_GB = 3.0
"""Memory that a case takes at most, about."""


@attrs.frozen
class Verdict:
    """How a case ended.

    Parameters
    ----------
    case : Case
    fault : str
        What is wrong; empty if nothing is.
    seconds : float
    kind : str
        Of the ending of its last command: ``right`` or ``clear error``; :data:`NOT_TRIED` where
        the machine lacks what the case needs.
    """

    case: Case
    fault: str
    seconds: float
    kind: str

    def __str__(self) -> str:
        words = f"wrong: {self.fault}" if self.fault else self.kind
        if self.kind == NOT_TRIED:
            return f"{self.case.name}: {words}, needs {' and '.join(self.case.needs)}"
        return f"{self.case.name}: {words} ({self.seconds:.0f} s)"


class Bench:
    """Where cases are tried.

    Parameters
    ----------
    parent : Path
        For places, and for what cases share.
    keep : bool
        Whether places of cases that are wrong stay.
    """

    def __init__(self, parent: Path, keep: bool = False) -> None:
        self.parent, self.keep = parent, keep
        as_from_a_terminal()

    def model(self, name: str) -> Path:
        """Folder of a model."""
        if name == "tiny":
            return once((self.parent, name), lambda: tiny_model(self.parent))
        return resolve_model(name).resolve()

    def judge(self, case: Case) -> Verdict:
        """Try a case; whatever happens in the trial itself is its fault, too."""
        begun = time.monotonic()
        model, place = self.model(case.model), Place.make(self.parent)
        fault, kind = "", ""
        try:
            case.build(place)
            for number, step in enumerate(case.steps, start=1):
                if step.before:
                    step.before(place)
                before = {p.name for p in place.root.iterdir()}
                digest = tree_digest(place.input)
                run = execute(step, place, model)
                faults = [*faults_of_any(run, before)]
                if not step.touches_input and tree_digest(place.input) != digest:
                    faults.append("changes its input")
                if step.strike and not run.struck:
                    faults.append("ended before it could be struck")
                kind, wrong = ending_of(step.ends, run)
                if wrong:
                    faults.append(wrong)
                if faults and self.keep:
                    (place.root / f"step-{number}.log").write_text(run.stdout + run.stderr)
                if faults:
                    fault = f"step {number}: {'; '.join(faults)}"
                    break
        except Exception as error:
            fault = f"the trial itself: {type(error).__name__}: {error}"
        if not (fault and self.keep):
            place.remove()
        return Verdict(case, fault, time.monotonic() - begun, kind)


def tiny_model(parent: Path) -> Path:
    """The model of random weights that all tests use."""
    from conftest import write_tiny_model

    folder = parent / "model"
    if not (folder / "config.json").exists():
        folder.mkdir(exist_ok=True)
        write_tiny_model(folder)
    return folder


@cache
def has(need: str) -> bool:
    """Whether this machine has what a case needs, see :data:`NEEDS`."""
    command = NEEDS.get(need)
    return bool(command) and subprocess.run(command, capture_output=True).returncode == 0


def sample(cases: Sequence[Case], seconds: float) -> list[Case]:
    """Some cases of every table that take so long together: always the same ones."""
    chosen: list[Case] = []
    tables: dict[str, list[Case]] = {}
    for case in sorted(cases, key=lambda c: crc32(c.name.encode())):
        tables.setdefault(case.name.split("/")[0], []).append(case)
    while any(tables.values()):
        for waiting in tables.values():
            if waiting and (case := waiting.pop(0)).weight <= seconds:
                chosen.append(case)
                seconds -= case.weight
    return chosen


def tally(verdicts: Iterable[Verdict]) -> str:
    """Count endings, and list what is wrong."""
    verdicts = list(verdicts)
    counts = Counter("wrong" if v.fault else v.kind for v in verdicts)
    kinds = ("right", "clear error", "wrong", *((NOT_TRIED,) if counts[NOT_TRIED] else ()))
    words = ", ".join(f"{counts[kind]} {kind}" for kind in kinds)
    odd = [verdict for verdict in verdicts if verdict.fault or verdict.kind == NOT_TRIED]
    minutes = sum(v.seconds for v in verdicts) / 60
    listed = "".join(f"\n  {verdict}" for verdict in odd)
    return f"{len(verdicts)} cases in {minutes:.0f} min, one after another: {words}{listed}"


def read_record(path: Path, cases: Sequence[Case]) -> list[Verdict]:
    """Verdicts that an earlier command wrote down, the last of each case."""
    by_name = {case.name: case for case in cases}
    lines = path.read_text().splitlines() if path.exists() else []
    found = {}
    for name, kind, seconds, fault in (line.split("\t", 3) for line in lines):
        if name in by_name:
            found[name] = Verdict(by_name[name], fault, float(seconds), kind)
    return list(found.values())


def write_down(path: Path, verdict: Verdict) -> None:
    """Add a verdict to a record."""
    fault = " ".join(verdict.fault.split())
    row = (verdict.case.name, verdict.kind, f"{verdict.seconds:.1f}", fault)
    with path.open("a") as stream:
        stream.write("\t".join(row) + "\n")


def run_all(
    bench: Bench,
    cases: Sequence[Case],
    record: Path | None = None,
    together: int = 1,
    jobs: int = 1,
) -> list[Verdict]:
    """Try cases, and print each verdict with the time left.

    Parameters
    ----------
    bench : Bench
    cases : sequence of Case
    record : Path, optional
        A file that gets each verdict, too.
    together : int
        So many may share a run, see :mod:`trials.together`.
    jobs : int
        So many runs at a time.
    """
    verdicts = list[Verdict]()
    shared = [*batches(cases, together)]
    progress, done = Progress("trials", sum(map(weight_of, shared))), 0.0
    with ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(_verdicts, bench, batch): batch for batch in shared}
        try:
            for future in as_completed(waiting):
                done += weight_of(waiting[future])
                for verdict in future.result():
                    verdicts.append(verdict)
                    note(progress.line(done, f"{len(verdicts)}/{len(cases)} {verdict}"))
                    if record and verdict.kind != NOT_TRIED:
                        write_down(record, verdict)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return verdicts


def _verdicts(bench: Bench, batch: Sequence[Case]) -> list[Verdict]:
    """Verdicts of cases that may share a run."""
    passed: dict[str, str] = {}
    begun = time.monotonic()
    if len(batch) > 1:
        passed = try_together(bench.parent, bench.model(batch[0].model), batch)
    each = (time.monotonic() - begun) / len(batch) if len(batch) > 1 else 0.0
    verdicts = []
    for case in batch:
        missing = [need for need in case.needs if not has(need)]
        if missing:
            verdicts.append(Verdict(case, "", 0.0, NOT_TRIED))
        elif case.name in passed:
            verdicts.append(Verdict(case, "", each, passed[case.name]))
        else:
            alone = bench.judge(case)
            verdicts.append(attrs.evolve(alone, seconds=alone.seconds + each))
    return verdicts


def processors() -> int:
    """Processors of this machine, of which each has memory enough for the largest case."""
    gigabytes = psutil.virtual_memory().total / 2**30
    return max(1, min(len(os.sched_getaffinity(0)), int(gigabytes / CASE_GB)))


def lower_priority() -> None:
    """Leave the processors to others first, unless somebody has said how much already."""
    try:
        if os.nice(0) == 0:
            os.nice(10)
    except OSError as error:
        print(f"priority not lowered: {error}", file=sys.stderr)
