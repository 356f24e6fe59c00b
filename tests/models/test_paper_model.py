"""The model of the paper's form that ships: whole, and ahead of interpolation where it says so."""

from __future__ import annotations

import numpy as np
import pytest

from dmri7t.evaluation.case import metrics_of
from dmri7t.evaluation.chain import interpolate_shell, translate_shell
from dmri7t.evaluation.simulated import simulated_cases
from dmri7t.models.bundle import check_bundle, resolve_model
from dmri7t.models.translator import Translator
from dmri7t.simulation.subjects import HELD_OUT


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator.load(resolve_model("zhu2024"))


def test_it_ships_whole_and_says_what_it_is():
    config = check_bundle(resolve_model("zhu2024"))
    assert config.form == "direct" and config.training.source == "simulated pairs"
    # as its card says: ahead of interpolation on the mean
    nmse = config.metrics.nmse
    for name, value in nmse["ldm-ft-sr"].items():
        assert value.mean < nmse["interpolation"][name].mean, name
    assert config.calibration is not None and config.novelty is not None


def test_it_is_ahead_of_interpolation_on_heads_it_never_saw(translator):
    ours, theirs = [], []
    for case in simulated_cases(HELD_OUT.take(4, 77), "any", 24):
        shell = case.scan.represent()
        ours.append(metrics_of(translate_shell(translator, case.scan, shell), case))
        theirs.append(metrics_of(interpolate_shell(case.scan, shell), case))
    for name in ("NMSE R2", "NMSE R4", "NMSE FA"):
        mine, plain = (np.mean([f[name] for f in side]) for side in (ours, theirs))
        assert mine < plain, name
