"""The line on top says what was found, and what was gained, as far as it is known."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve

from dmri7t.reports.alarms import Alarm
from dmri7t.reports.quality import ErrorForecast, Evidence, HeldOutError, QualityRecord
from dmri7t.reports.sentences import origin, shares
from dmri7t.reports.verdict import judge


def having(quality: QualityRecord, *evidence: Evidence | None, **changes) -> QualityRecord:
    """A record with translated shells of such evidence."""
    first = evolve(quality.shells[0], **changes)
    shells = (evolve(first, name=f"b{n}000", evidence=e) for n, e in enumerate(evidence, start=1))
    return evolve(quality, shells=tuple(shells))


def measured(
    ratio: float, error: float = 0.01, mppca: float = 0.0, coarser: float = 0.0
) -> Evidence:
    beside = (HeldOutError("mppca", mppca, 0.02), HeldOutError("result", 0.6, 0.02))
    return Evidence(
        ((1.0, 0.9, 0.5), (0.0, 0.0, 0.25)),
        (HeldOutError("filter", 0.7, 0.01), HeldOutError("result", ratio, error)),
        beside if mppca else (),
        coarser=(
            (HeldOutError("filter", 0.8, 0.02), HeldOutError("result", coarser, 0.02))
            if coarser
            else ()
        ),
        factor=1.1905,
    )


@pytest.fixture
def quality(make_scan_report) -> QualityRecord:
    return make_scan_report().quality


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (
            measured(0.66),
            "34 % closer to what was measured than interpolation on this scan (± 1 %).",
        ),
        (measured(1.2), "20 % farther from what was measured than interpolation"),
        (measured(0.99), "as close to what was measured as interpolation on this scan."),
        (measured(0.66, mppca=0.8), "(± 1 %), with an error 25 % below that of MP-PCA."),
        (
            measured(0.66, coarser=0.72),
            "(± 1 %); made 1.19 times coarser and brought back, the model takes 10 % off its "
            "error.",
        ),
        (measured(0.66, coarser=0.797), "interpolation on this scan (± 1 %)."),
        (None, "How much was gained over interpolation is not known."),
        (Evidence(((1.0,), (0.0,)), reason="8 directions"), "is not known."),
    ],
)
def test_gain_of_one_shell(quality, evidence, words):
    assert words in judge(having(quality, evidence), ()).gained


def test_gain_of_two_shells_and_forecast(quality):
    two = judge(having(quality, measured(0.5), measured(0.8)), ()).gained
    assert "b1000: 50 % closer to" in two and "b2000: 20 % closer to" in two
    expected = {"FA": ErrorForecast(0.6, 0.4, 1.1)}
    forecast = judge(having(quality, None, expected=expected), ()).gained
    assert "the error of FA was 40 % below that of interpolation" in forecast
    # what was measured is worth more than what is foretold
    assert "simulated" not in judge(having(quality, measured(0.5), expected=expected), ()).gained


def test_what_was_found(quality):
    alarm = Alarm("The brain is cut at the top", "x", np.zeros(3))
    assert judge(quality, (alarm,)).found == "Look here first: the brain is cut at the top."
    two = judge(quality, (alarm, evolve(alarm, title="Other")))
    assert two.found == "2 things to look at first: the brain is cut at the top; other."
    assert not two.good
    assert judge(quality, (evolve(alarm, loud=False),)).good


def test_shares_are_told_with_their_reason(quality):
    (text,) = shares(having(quality, measured(0.5)).shells)
    assert "filter changes 100 % (R0), 90 % (R2), 50 % (R4)" in text
    assert "beyond it 0 % (R0), 0 % (R2), 25 % (R4): the shares that best foretell" in text
    (text,) = shares(having(quality, Evidence(((1.0,), (0.0,)), reason="8 directions")).shells)
    assert text.endswith("0 % (R0): 8 directions.")


def test_page_says_what_went_into_the_result(make_scan_report, quality):
    """A scan may give the model no part, in one shell or in all."""

    def told(record: QualityRecord, simulated: bool = True) -> tuple[str, str]:
        return origin([make_scan_report(quality=record)], simulated)

    alone = Evidence(((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    word, text = told(having(quality, alone, alone))
    assert word == "synthetic" and text.startswith("A filter made it") and "learned" not in text
    for record in (having(quality, alone, measured(0.5)), having(quality, None)):
        assert "A filter and a trained model made it" in told(record)[1]
    assert "7T scanner" in told(having(quality, None), simulated=False)[1]
    assert told(having(quality, None, translated=False))[0] == "interpolated"
