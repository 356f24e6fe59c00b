"""Cases that differ in their scan alone share a run: each is a participant of one data set.

Most of the time of a small run goes into its start. What comes out right for one participant among
many is right; whatever is not is tried again alone before it is called wrong.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
from examples import make

from dmri7t.progress import note
from trials.case import LINE, Case, Run, Step
from trials.execute import execute
from trials.judge import Ends, ending_of, faults_of_any, faults_of_output
from trials.place import Place, tree_digest

TABLES = ("scans", "broken", "laboratories")
"""Tables whose cases are scans."""

START_SECONDS = 3.0
"""What a run of its own takes about before a case's own participant is begun."""

SECONDS_EACH = 300.0
"""Longest time that a participant may add."""


def may_share(case: Case) -> bool:
    """Whether a case is one run, by the usual command, without a fault on the way."""
    step = case.steps[0]
    plain = not (step.words or step.strike or step.before or step.touches_input or case.needs)
    of_scans = case.name.split("/")[0] in TABLES
    return of_scans and len(case.steps) == 1 and plain and step.line == LINE


def batches(cases: Sequence[Case], size: int) -> Iterator[list[Case]]:
    """Part cases into such that share a run, of one model each, and others by themselves."""
    open_: dict[str, list[Case]] = {}
    for case in cases:
        if size < 2 or not may_share(case):
            yield [case]
            continue
        own = open_.setdefault(case.model, [])
        own.append(case)
        if len(own) == size:
            yield open_.pop(case.model)
    yield from open_.values()


def weight_of(batch: Sequence[Case]) -> float:
    """Seconds that cases which may share a run take about; each alone would need a start more."""
    return sum(case.weight for case in batch) - (len(batch) - 1) * START_SECONDS


@attrs.frozen
class Guest:
    """A case in a shared run.

    Parameters
    ----------
    case : Case
    place : Place
        Where its input was built, and its part of the output comes to lie.
    label : str
        Of its participant in the shared run.
    """

    case: Case
    place: Place
    label: str

    def moved_in(self, shared: Place) -> bool:
        """Move its scan into the shared data set; not if it is more than one plain participant."""
        try:
            self.case.build(self.place)
        except Exception:
            # the case itself is at fault, which shows when it is tried alone
            return False
        beside = {"dataset_description.json", "README", "sub-01"}
        folders = [*self.place.input.glob("sub-*")]
        if {p.name for p in self.place.input.iterdir()} != beside or len(folders) != 1:
            return False
        _renamed(folders[0], "01", self.label)
        os.rename(self.place.input / "sub-01", shared.input / f"sub-{self.label}")
        return True

    def part_of(self, run: Run, labels: Sequence[str]) -> Run:
        """What of the run was its own, as if it had been alone."""
        out = run.place.out
        for path in sorted(out.glob(f"sub-{self.label}*")) if out.is_dir() else []:
            _moved(path, self.place.out / path.name.replace(self.label, "01"), self.label)
        record = out / f"logs/sub-{self.label}_status.json"
        if record.is_file():
            logs = self.place.out / "logs"
            logs.mkdir(parents=True, exist_ok=True)
            (logs / "sub-01_status.json").write_text(self._own(record.read_text()))
        others = [f"sub-{label}" for label in labels if label != self.label]

        def own(text: str) -> str:
            kept = [line for line in text.splitlines() if not any(o in line for o in others)]
            return self._own("\n".join(kept) + "\n")

        stdout = own(run.stdout)
        done = re.search("^sub-01 done", stdout, re.MULTILINE)
        return attrs.evolve(
            run, place=self.place, stdout=stdout, stderr=own(run.stderr), code=0 if done else 1
        )

    def _own(self, text: str) -> str:
        return text.replace(f"sub-{self.label}", "sub-01")


def try_together(parent: Path, model: Path, cases: Sequence[Case]) -> dict[str, str]:
    """Try cases in one run.

    Returns
    -------
    dict
        The kind of the ending of each case that came out right, by name; others must be tried
        alone.
    """
    shared, guests = Place.make(parent), list[Guest]()
    shared.input.mkdir()
    make._describe(shared.input, "trial", {})
    (shared.input / "README").write_text("for a trial\n")
    places = [Place.make(parent) for _ in cases]
    try:
        for number, (case, place) in enumerate(zip(cases, places, strict=True)):
            guest = Guest(case, place, f"trial{number:03}")
            if guest.moved_in(shared):
                guests.append(guest)
        before, digest = {p.name for p in shared.root.iterdir()}, tree_digest(shared.input)
        step = Step((Ends((0,)),), seconds=SECONDS_EACH * len(guests))
        run = execute(step, shared, model)
        faults = [*faults_of_any(run, before)]
        if tree_digest(shared.input) != digest:
            faults.append("changes its input")
        if faults:
            note(f"run of {len(guests)} cases: {'; '.join(faults)}; each is tried alone")
            return {}
        labels, kinds = [guest.label for guest in guests], {}
        for guest in guests:
            kind, fault = _ending(guest.case, guest.part_of(run, labels))
            if fault:
                note(f"{guest.case.name}: among {len(guests)}, {fault}; it is tried alone")
            else:
                kinds[guest.case.name] = kind
        return kinds
    finally:
        for place in (shared, *places):
            place.remove()


def _ending(case: Case, run: Run) -> tuple[str, str]:
    """Kind of the ending that a run had, of those that the case allows; else what is wrong."""
    if faults := [*faults_of_output(run.place)]:
        return "", "; ".join(faults)
    return ending_of(case.steps[0].ends, run)


def _renamed(folder: Path, old: str, new: str) -> None:
    """Give the files of a participant the names of another."""
    for path in sorted(folder.rglob(f"sub-{old}*"), key=lambda p: -len(p.parts)):
        path.rename(path.with_name(path.name.replace(f"sub-{old}", f"sub-{new}", 1)))


def _moved(path: Path, target: Path, label: str) -> None:
    """Move results to where a participant 01 would have them."""
    if path.is_dir():
        _renamed(path, label, "01")
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
