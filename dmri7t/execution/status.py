"""The status of a run: one record for log, report, summary and exit code."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

import attrs

from dmri7t.errors import Dmri7tError
from dmri7t.execution.display import Display
from dmri7t.execution.reasons import details_of, plain_reason, reason_of
from dmri7t.files import NAME_LENGTH, strict_json, write_whole


@attrs.define
class NodeRecord:
    """State of one node.

    Parameters
    ----------
    name : str
        Within the participant, such as ``dwi_wf.b1000_wf.encode``.
    state : {"running", "done", "cached", "failed", "earlier"}
        ``"earlier"``: of an earlier run; this one has not reached the node yet.
    seconds : float
        Run time; of the run that computed it, where the node is cached now.
    peak_gb : float
        Largest resident memory in GiB; 0 where it was not measured.
    cpu_seconds : float
        Of processors, all threads together; 0 where it was not measured.
    """

    name: str
    state: str = "running"
    seconds: float = 0.0
    peak_gb: float = 0.0
    cpu_seconds: float = 0.0


@attrs.define
class NodeFailure:
    """Why a node failed: a plain reason, and the crash file if there is one.

    ``details`` is a traceback for which there is no crash file yet.
    """

    node: str
    reason: str
    crash_file: str = ""
    details: str = ""

    def to_dict(self) -> dict[str, str]:
        """What a record says of it."""
        return {"node": self.node, "reason": self.reason, "crash_file": self.crash_file}


@attrs.define
class ParticipantStatus:
    """Nodes and failures of one participant; ``expected`` counts the nodes of its graph.

    ``unfinished`` says why it has neither all of its results nor a failure of its own.
    """

    label: str
    expected: int = 0
    nodes: dict[str, NodeRecord] = attrs.field(factory=dict)
    failures: list[NodeFailure] = attrs.field(factory=list)
    unfinished: str = ""

    @property
    def done(self) -> bool:
        """Whether every node has its result and nothing failed."""
        finished = sum(n.state in ("done", "cached") for n in self.nodes.values())
        return not self.failures and not self.unfinished and finished >= self.expected

    @property
    def others_done(self) -> bool:
        """Whether scans could not be used, and all of the others are done."""
        finished = sum(n.state in ("done", "cached") for n in self.nodes.values())
        before = [failure for failure in self.failures if not failure.node]
        return len(before) == len(self.failures) and 0 < self.expected <= finished

    def to_json(self) -> str:
        """Write as JSON."""
        return strict_json(
            {
                "participant": self.label,
                "done": self.done,
                "nodes": [attrs.asdict(n) for n in self.nodes.values()],
                "failures": [failure.to_dict() for failure in self.failures],
                "unfinished": self.unfinished,
            }
        )


class RunStatus:
    """Status of all participants of a run.

    Parameters
    ----------
    participants : dict
        Label of each participant's workflow, by the workflow's name.
    folder : Path, optional
        The run's work folder; every participant's record lies in its workflow's folder there.
    echo : callable
        Takes a line of progress.
    every_node : bool
        Whether every node that starts and ends is a line.
    display : Display, optional
        Is shown how far the run is.

    Examples
    --------
    >>> status = RunStatus({"sub_01_wf": "01"}, echo=lambda line: None)
    >>> status.fail_before("02", "sub-02_dwi.bvec is missing; add it")
    >>> status.exit_code
    1
    """

    def __init__(
        self,
        participants: dict[str, str] | None = None,
        folder: Path | None = None,
        echo: Callable[[str], None] = print,
        every_node: bool = True,
        display: Display | None = None,
    ) -> None:
        self._labels: dict[str, str] = {}
        self._folder: Path | None = None
        self._started: dict[str, float] = {}
        self._unsaved: set[str] = set()
        self.participants: dict[str, ParticipantStatus] = {}
        self.echo = echo
        self.every_node = every_node
        self.display = display
        if participants:
            self.begin(participants, folder)

    def begin(self, participants: dict[str, str], folder: Path | None = None) -> None:
        """Add the participants of a graph, with what an earlier run measured."""
        self._labels.update(participants)
        self._folder = folder
        for workflow, label in participants.items():
            status = self.participants.setdefault(label, ParticipantStatus(label))
            for node in self._read_earlier(workflow):
                node.state = "earlier"
                status.nodes.setdefault(node.name, node)

    def expect(self, fullnames: list[str]) -> None:
        """Set which nodes will run; earlier records of any others are dropped."""
        names: dict[str, set[str]] = {}
        for fullname in fullnames:
            label, name = self.split(fullname)
            names.setdefault(label, set()).add(name)
        for label, expected in names.items():
            status = self.participants.setdefault(label, ParticipantStatus(label))
            status.expected = len(expected)
            status.nodes = {k: v for k, v in status.nodes.items() if k in expected}
        if self.display:
            self.display.tally.expect({label: sorted(own) for label, own in names.items()})
        self.show()

    def show(self) -> None:
        """Show how far the run is; called whenever something happened, and now and then."""
        if self.display:
            self.display.show()

    def close(self) -> None:
        """Show no more."""
        if self.display:
            self.display.close()
            self.display = None

    def _node_line(self, label: str, words: str) -> None:
        if self.every_node:
            self.echo(f"{_clock()} {_prefix(label)}{words}")

    def split(self, fullname: str) -> tuple[str, str]:
        """Label of the participant, and the node's name within it."""
        parts = fullname.split(".")
        for index, part in enumerate(parts):
            if part in self._labels:
                return self._labels[part], ".".join(parts[index + 1 :])
        return "", fullname

    def started(self, fullname: str) -> None:
        """Note that a node starts."""
        label, name = self.split(fullname)
        self._started[fullname] = time.monotonic()
        self._participant(label).nodes[name] = NodeRecord(name)
        if self.display:
            self.display.tally.start(label, name)
        self._node_line(label, f"{name} started")
        self.show()
        self._save(label)

    def finished(
        self,
        fullname: str,
        seconds: float | None = None,
        peak_gb: float = 0.0,
        cpu_seconds: float = 0.0,
    ) -> None:
        """Note that a node has its result; one that never started was cached."""
        label, name = self.split(fullname)
        nodes = self._participant(label).nodes
        begun = self._started.pop(fullname, None)
        if begun is None:
            record = nodes.setdefault(name, NodeRecord(name))
            record.state = "cached"
            self._node_line(label, f"{name} is up to date")
        else:
            seconds = time.monotonic() - begun if seconds is None else seconds
            nodes[name] = NodeRecord(
                name, "done", round(seconds, 3), round(peak_gb, 3), round(cpu_seconds, 3)
            )
            self._node_line(label, f"{name} done in {seconds:.1f} s")
        if self.display:
            self.display.tally.end(label, name, cached=begun is None)
        self.show()
        self._save(label)

    def failed(self, fullname: str, traceback: str, crash_file: str = "") -> None:
        """Note that a node failed."""
        label, name = self.split(fullname)
        participant = self._participant(label)
        begun = self._started.pop(fullname, None)
        seconds = time.monotonic() - begun if begun is not None else 0.0
        participant.nodes[name] = NodeRecord(name, "failed", round(seconds, 3))
        reason = plain_reason(traceback)
        participant.failures.append(NodeFailure(name, reason, crash_file))
        if self.display:
            self.display.tally.fail(label, name)
        self.echo(f"{_clock()} {_prefix(label)}{name} FAILED: {reason}")
        self._save(label)

    def fail_before(self, label: str, reason: str) -> None:
        """Note that a participant failed before any of its nodes could run."""
        self._participant(label).failures.append(NodeFailure("", reason))

    def crash_before(self, label: str, error: Exception) -> None:
        """Note an exception that was raised for a participant before its nodes could run.

        What the user can mend says so itself; of anything else the record's folder gets a crash
        file, too.
        """
        mendable = isinstance(error, Dmri7tError)
        reason = str(error) if mendable else reason_of(error)
        details = "" if mendable else details_of(error)
        self._participant(label).failures.append(NodeFailure("", reason, details=details))

    def leave(self, labels: Iterable[str], reason: str) -> None:
        """Note why those that have neither all of their results nor a failure were left."""
        for label in labels:
            participant = self._participant(label)
            begun = participant.expected and participant.done
            if not begun and not participant.failures:
                participant.unfinished = reason

    @property
    def exit_code(self) -> int:
        """0 where all participants are done, 1 where any failed or was left unfinished."""
        return 0 if all(p.done for p in self.participants.values()) else 1

    def summary(self) -> str:
        """Lines that name every participant and how it ended."""
        lines = []
        for label, participant in sorted(self.participants.items()):
            if participant.done:
                lines.append(f"{_prefix(label)}done")
                continue
            if not participant.failures:
                reason = f": {participant.unfinished}" if participant.unfinished else ""
                lines.append(f"{_prefix(label)}NOT FINISHED{reason}")
            for failure in participant.failures:
                node = f"{failure.node}: " if failure.node else ""
                crash = f" (details: {failure.crash_file})" if failure.crash_file else ""
                lines.append(f"{_prefix(label)}FAILED: {node}{failure.reason}{crash}")
            if participant.failures and participant.others_done:
                lines.append(f"{_prefix(label)}done with its other scans")
        return "\n".join(lines)

    def write(self, log_dir: Path) -> None:
        """Write every participant's record beside the crash files, for the level group.

        A record that cannot be written keeps no other from being written: it is named.
        """
        for label, participant in self.participants.items():
            if not label:
                continue
            try:
                for failure in participant.failures:
                    _write_details(failure, label, Path(log_dir))
                record = Path(log_dir) / f"sub-{label}_status.json"
                write_whole(record, participant.to_json())
            except OSError as error:
                self.echo(f"{_prefix(label)}its record cannot be written: {reason_of(error)}")

    def _participant(self, label: str) -> ParticipantStatus:
        return self.participants.setdefault(label, ParticipantStatus(label))

    def _file(self, workflow: str) -> Path | None:
        return self._folder / workflow / "status.json" if self._folder else None

    def _read_earlier(self, workflow: str) -> list[NodeRecord]:
        file = self._file(workflow)
        try:
            nodes = json.loads(file.read_text())["nodes"] if file else []
            return [NodeRecord(**node) for node in nodes]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def _save(self, label: str) -> None:
        for workflow, owner in self._labels.items():
            file = self._file(workflow)
            if owner != label or file is None:
                continue
            try:
                # the report reads it while others write
                write_whole(file, self.participants[label].to_json())
            except OSError as error:
                # the nodes themselves fail, too, where that matters
                if label not in self._unsaved:
                    self._unsaved.add(label)
                    self.echo(f"{_prefix(label)}its times cannot be kept: {reason_of(error)}")


def _write_details(failure: NodeFailure, label: str, log_dir: Path) -> None:
    """Write the traceback of a failure as a crash file, once."""
    if not failure.details or failure.crash_file:
        return
    path = log_dir / f"crash-{time.strftime('%Y%m%d-%H%M%S')}-sub-{label}-{uuid.uuid4()}.txt"
    if len(path.name) > NAME_LENGTH:
        path = path.with_name(f"crash-{uuid.uuid4()}.txt")
    write_whole(path, failure.details)
    failure.crash_file = str(path)


def _clock() -> str:
    return time.strftime("[%H:%M:%S]")


def _prefix(label: str) -> str:
    return f"sub-{label} " if label else ""
