"""The status of a run: one record for log, report, summary and exit code."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from dmri7t.files import write_whole


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
    """

    name: str
    state: str = "running"
    seconds: float = 0.0
    peak_gb: float = 0.0


@attrs.define
class NodeFailure:
    """Why a node failed: a plain reason, and the crash file if there is one."""

    node: str
    reason: str
    crash_file: str = ""


@attrs.define
class ParticipantStatus:
    """Nodes and failures of one participant; ``expected`` counts the nodes of its graph."""

    label: str
    expected: int = 0
    nodes: dict[str, NodeRecord] = attrs.field(factory=dict)
    failures: list[NodeFailure] = attrs.field(factory=list)

    @property
    def done(self) -> bool:
        """Whether every node has its result and nothing failed."""
        finished = sum(n.state in ("done", "cached") for n in self.nodes.values())
        return not self.failures and finished >= self.expected

    @property
    def others_done(self) -> bool:
        """Whether scans could not be used, and all of the others are done."""
        finished = sum(n.state in ("done", "cached") for n in self.nodes.values())
        before = [failure for failure in self.failures if not failure.node]
        return len(before) == len(self.failures) and 0 < self.expected <= finished

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(
            {
                "participant": self.label,
                "done": self.done,
                "nodes": [attrs.asdict(n) for n in self.nodes.values()],
                "failures": [attrs.asdict(f) for f in self.failures],
            },
            indent=2,
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
    ) -> None:
        self._labels: dict[str, str] = {}
        self._folder: Path | None = None
        self._started: dict[str, float] = {}
        self.participants: dict[str, ParticipantStatus] = {}
        self.echo = echo
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
        self.echo(f"{_clock()} {_prefix(label)}{name} started")
        self._save(label)

    def finished(self, fullname: str, seconds: float | None = None, peak_gb: float = 0.0) -> None:
        """Note that a node has its result; one that never started was cached."""
        label, name = self.split(fullname)
        nodes = self._participant(label).nodes
        begun = self._started.pop(fullname, None)
        if begun is None:
            record = nodes.setdefault(name, NodeRecord(name))
            record.state = "cached"
            self.echo(f"{_clock()} {_prefix(label)}{name} is up to date")
        else:
            seconds = time.monotonic() - begun if seconds is None else seconds
            nodes[name] = NodeRecord(name, "done", round(seconds, 3), round(peak_gb, 3))
            self.echo(f"{_clock()} {_prefix(label)}{name} done in {seconds:.1f} s")
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
        self.echo(f"{_clock()} {_prefix(label)}{name} FAILED: {reason}")
        self._save(label)

    def fail_before(self, label: str, reason: str) -> None:
        """Note that a participant failed before any of its nodes could run."""
        self._participant(label).failures.append(NodeFailure("", reason))

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
                lines.append(f"{_prefix(label)}NOT FINISHED")
            for failure in participant.failures:
                node = f"{failure.node}: " if failure.node else ""
                crash = f" (details: {failure.crash_file})" if failure.crash_file else ""
                lines.append(f"{_prefix(label)}FAILED: {node}{failure.reason}{crash}")
            if participant.failures and participant.others_done:
                lines.append(f"{_prefix(label)}done with its other scans")
        return "\n".join(lines)

    def write(self, log_dir: Path) -> None:
        """Write every participant's record beside the crash files, for the level group."""
        Path(log_dir).mkdir(parents=True, exist_ok=True)
        for label, participant in self.participants.items():
            if label:
                write_whole(Path(log_dir) / f"sub-{label}_status.json", participant.to_json())

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
            file.parent.mkdir(parents=True, exist_ok=True)
            # the report reads it while others write
            write_whole(file, self.participants[label].to_json())


def plain_reason(traceback: str) -> str:
    """Last line of a traceback, without the exception's module.

    Examples
    --------
    >>> plain_reason("Traceback:\\n  File x\\ndmri7t.errors.InputError: a.bval is missing\\n")
    'a.bval is missing'
    >>> plain_reason("Traceback:\\n  File x\\nValueError: no\\n")
    'ValueError: no'
    """
    lines = [line.strip() for line in traceback.splitlines() if line.strip()]
    last = lines[-1] if lines else "unknown reason"
    return re.sub(r"^dmri7t\.errors\.\w+: ", "", last)


def _clock() -> str:
    return time.strftime("[%H:%M:%S]")


def _prefix(label: str) -> str:
    return f"sub-{label} " if label else ""
