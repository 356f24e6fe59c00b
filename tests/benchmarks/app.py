"""The app as a user runs it: whole runs, and what each node of them took."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
from measured import Measured, measure, n_processors

LEAST_SHARE = 0.005
"""Nodes with less of the processor seconds are put together in one row."""


@attrs.frozen
class Run:
    """A whole run.

    Parameters
    ----------
    measured : Measured
    nodes : dict of Measured
        Every node by its name, of all participants together.
    """

    measured: Measured
    nodes: dict[str, Measured]

    def rows(self, name: str) -> Iterator[dict[str, str]]:
        """Table of where the time goes, the most expensive node first."""
        whole = self.measured.cpu_seconds
        inside = sum(node.cpu_seconds for node in self.nodes.values())
        largest = sorted(self.nodes.items(), key=lambda item: -item[1].cpu_seconds)
        shown = [(key, node) for key, node in largest if node.cpu_seconds >= LEAST_SHARE * whole]
        rest = [node for _, node in largest[len(shown) :]]
        if rest:
            shown.append((f"{len(rest)} others", sum(rest, Measured(0.0))))
        # the server that workers are forked from, the driver, reading of inputs by their hashes
        shown.append(("between the nodes", Measured(0.0, max(whole - inside, 0.0))))
        for node_name, node in shown:
            yield {
                "run": name,
                "node": node_name,
                "s": f"{node.seconds:.2f}" if node.seconds else "",
                "CPU s": f"{node.cpu_seconds:.2f}",
                "share of CPU": f"{node.cpu_seconds / whole:.0%}",
                "peak GiB": f"{node.peak_gb:.2f}" if node.peak_gb else "",
            }
        m = self.measured
        yield {
            "run": name,
            "node": f"whole, {m.utilisation:.0%} of {n_processors()} processors used",
            "s": f"{m.seconds:.2f}",
            "CPU s": f"{whole:.2f}",
            "share of CPU": "100%",
            "peak GiB": f"{m.peak_gb:.2f}",
        }


def run_app(folder: Path, *options: object) -> Run:
    """Run the app afresh on ``bids`` of a folder, with all defaults but for some options."""
    for name in ("out", "work"):
        shutil.rmtree(folder / name, ignore_errors=True)
    command = [sys.executable, "-m", "dmri7t.cli.app", "bids", "out", "participant"]
    measured = measure([*command, "-w", "work", *options], folder)
    return Run(measured, dict(_nodes(sorted((folder / "out/logs").glob("sub-*_status.json")))))


def _nodes(records: Sequence[Path]) -> Iterator[tuple[str, Measured]]:
    """What every node took, summed over the participants' records."""
    total: dict[str, Measured] = {}
    for record in records:
        for node in json.loads(record.read_text())["nodes"]:
            took = Measured(node["seconds"], node["cpu_seconds"], node["peak_gb"])
            name = node["name"].replace("_wf.", ".")
            total[name] = total.get(name, Measured(0.0)) + took
    yield from total.items()


def plan_app(folder: Path, labels: Sequence[str] = ()) -> Measured:
    """Plan a run without running it; of some participants, or of all."""
    command = [sys.executable, "-m", "dmri7t.cli.app", "bids", "out", "participant", "--dry-run"]
    chosen = ["--participant-label", *labels] if labels else []
    return measure([*command, "-w", "work", "--skip-bids-validation", *chosen], folder)
