"""Run methods over cases: one row a subject, shell and method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
import torch

from dmri7t.evaluation.case import ANGLE, COEFFICIENTS, DWI, MAPS, METRICS, Case
from dmri7t.evaluation.methods import Method
from dmri7t.evaluation.tensors import BIAS, RMSE, TENSOR_MAPS
from dmri7t.evaluation.texture import TEXTURE, TEXTURE_MAPS
from dmri7t.progress import Progress, readable

KEYS = ["subject", "shell", "factor", "method"]
"""Columns that tell a row."""

TRUTH = "truth"
"""Row of the perfect answer, where one is known and the reference is not it."""


class Shown:
    """Keeps the maps of the first case, for the picture."""

    def __init__(self) -> None:
        self.case: Case | None = None
        self.maps: dict[str, dict[str, torch.Tensor]] = {}

    def keep(self, case: Case, name: str, maps: dict[str, torch.Tensor]) -> None:
        """Keep maps if they are of the first case."""
        self.case = self.case or case
        if case is self.case:
            self.maps[name] = maps


def run_methods(
    cases: Iterable[Case],
    methods: Sequence[Method],
    seed: int = 0,
    shown: Shown | None = None,
    expected: int = 1,
) -> pd.DataFrame:
    """Measure every method on every case, one case in memory at a time.

    Parameters
    ----------
    cases : iterable of Case
    methods : sequence of Method
    seed : int
        Of the samplers; the number of a case is added.
    shown : Shown, optional
        Keeps what the picture shows.
    expected : int
        How many cases there are about, for who waits.

    Returns
    -------
    DataFrame
        :data:`KEYS`, and ``NMSE R0`` and so on; empty cells where a map cannot be compared.
    """
    rows = []
    progress, done = Progress("evaluate", expected * len(methods)), 0
    progress.show(0, f"{len(methods)} methods; reading the first scan")
    for number, case in enumerate(cases):
        progress.total, begun = max(progress.total, done + len(methods)), progress.seconds
        shell = case.scan.represent()
        truth = case.maps(case.truth)
        if shown is not None:
            shown.keep(case, "reference", truth)
        perfect = [] if case.perfect is None else [Method(TRUTH, lambda *_, c=case: c.perfect)]
        told = " ".join(filter(None, (case.subject, case.shell, case.factor)))
        for method in [*perfect, *methods]:
            progress.show(done, f"{told}: {method.name}", passing=True)
            answer = case.comparable(method.make(case.scan, shell, seed + number))
            maps = case.maps(answer)
            if shown is not None:
                shown.keep(case, method.name, maps)
            keys = (case.subject, case.shell, case.factor, method.name)
            metrics = case.metrics(maps, truth) | case.signal_metrics(answer)
            metrics |= case.tensor_metrics(answer) | case.texture(maps, truth)
            rows.append({**dict(zip(KEYS, keys, strict=True)), **metrics})
            done += method.name != TRUTH
        case.scan.forget()
        progress.show(done, f"{told}: {readable(progress.seconds - begun)}")
    names = (*MAPS, *COEFFICIENTS, DWI)
    columns = [*KEYS, *(f"{metric} {name}" for name in names for metric in METRICS), ANGLE]
    columns += [f"{metric} {name}" for metric in (BIAS, RMSE) for name in TENSOR_MAPS]
    columns += [f"{metric} {name}" for metric in TEXTURE for name in TEXTURE_MAPS]
    return pd.DataFrame(rows).reindex(columns=columns)
