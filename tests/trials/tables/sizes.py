"""Scans of real size: what small ones do not show takes place while they are read and written."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trials import strikes
from trials.case import LINE, Case, Step, Strike
from trials.judge import right, stopped
from trials.oracles import ALONE, identical, snr_near, white_near
from trials.place import Edit, once, write_dataset
from trials.tables.interrupted import failed

WHOLE = {"shape": [96, 112, 72], "voxel": [1.9, 1.9, 1.9], "n_b0": 3, "shells": {"1000": 32}}
"""104 MB a scan on disk and in memory, as of a clinical protocol."""

SHELLS = {**WHOLE, "shape": [96, 104, 60], "shells": {"1000": 24, "2000": 36}}

SECONDS = 900.0


def _made(parent: Path, name: str) -> Path:
    root = parent / f"size-{name}"
    scan = {"whole": WHOLE, "shells": SHELLS}[name]
    return once(root, lambda: write_dataset(root, [{"name": "sub-01/dwi/sub-01_dwi", **scan}]))


def of_size(name: str) -> Edit:
    """One participant with a scan of real size; written once."""
    return lambda place: shutil.copytree(_made(place.root.parent, name), place.input) and None


def sized(name: str, *steps: Step, build: str = "whole") -> Case:
    """A case whose steps may take long."""
    return Case(f"sizes/{name}", steps, of_size(build), weight=90.0)


def step(ends: tuple[Any, ...], **more: Any) -> Step:
    """A command that may take long."""
    return Step(ends, seconds=SECONDS, **more)


def _cases() -> Iterator[Case]:
    same = right(identical(build=of_size("whole")), labels=("01",))
    near = (snr_near(26.0, 1.4), white_near("FA", 0.1, WHOLE), white_near("MD", 0.1, WHOLE))
    yield sized("right", step(right(*near, labels=("01",))))
    both = (snr_near(26.0, 1.4), white_near("FA", 0.15, SHELLS))
    yield sized("two-shells", step(right(*both, labels=("01",))), build="shells")
    writing = Strike("compress started", strikes.to_group(signal.SIGKILL), 0.5)
    yield sized("KILL-while-it-writes", step(stopped(-9), strike=writing), step(same))
    fitting = Strike("represent started", strikes.to_driver(signal.SIGTERM), 1.0)
    yield sized("TERM-while-it-fits", step(stopped(143), strike=fitting), step(same))
    reading = Strike("prepare started", strikes.to_workers(signal.SIGKILL), 0.5)
    yield sized("worker-KILL-while-it-reads", step(same, strike=reading))
    yield sized("two-processors", step(same, words="--nprocs 2"))
    limit = f"ulimit -f 60000; {LINE}"
    why = (*failed(), *right(labels=("01",)))
    yield sized("no-file-over-60-MB", step(why, line=limit), step(same))
    yield sized("work-gone", step((*failed(), *ALONE), strike=_gone()), step(same))


def _gone() -> Strike:
    return Strike("tensor_native started|encode started", strikes.remove("work"), 0.3)


CASES: tuple[Case, ...] = tuple(_cases())
