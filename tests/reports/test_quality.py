"""The record of quality is read whole, and the sentences say what it holds."""

from __future__ import annotations

import json

import pytest

from dmri7t.errors import InputError
from dmri7t.reports.quality import Cleaning, ErrorForecast, NoveltyScore, QualityRecord, Spot
from dmri7t.reports.sentences import comparison, remarks

RECORD = {
    "b0": {"n_volumes": 2, "nmse": 0.001},
    "shells": [
        {
            "name": "b1000",
            "n_volumes": 32,
            "translated": True,
            "bval": 1000.0,
            "n_directions": 32,
            "order": 4,
            "laplace_beltrami": 0.006,
            "gain": [1, 0.9, 0.4],
            "sigma": 0.05,
            "snr": 20.0,
            "consistency": {"difference": [0.1], "noise": [0.2], "beyond": [0.3]},
            "novelty": {
                **{"score": 2, "volume_ml": 3.0, "flagged": True, "resembles": "lost slices"},
                "alarm_ml": 0.5,
                "spots": [
                    {"volume_ml": 2.7, "score": 2, "place_mm": [1.0, 2.0, 3.0]},
                    {"volume_ml": 0.3, "score": 1.1, "place_mm": [4.0, 5.0, 6.0]},
                ],
            },
            "expected": {"R2": {"ratio": 0.5, "low": 0.4, "high": 0.6}},
            "bounded": [0.1, 0.15, 0.3],
            "floor": 12.5,
            "nmse": 0.02,
        },
        {"name": "b9", "n_volumes": 3, "translated": False, "reason": "few", "nmse": 0.01},
    ],
    "snr": 20.0,
    "nmse": {"b0": 0.001, "b1000": 0.02, "b9": 0.01, "all": 0.02},
    "repaired": {"input_nonfinite": 0},
    "mask_volume_ml": 1400.0,
    "cleaning": {"denoised": "MP-PCA", "gibbs": True, "noise_sd": 12.34, "removed_sd": 11.0},
    "compared": True,
    "flagged": True,
    "outside_training": ["A sentence."],
}


def test_record_is_read_whole(tmp_path):
    path = tmp_path / "quality.json"
    path.write_text(json.dumps(RECORD))
    quality = QualityRecord.read(path)
    shell, other = quality.shells
    spots = (Spot(2.7, 2, (1.0, 2.0, 3.0)), Spot(0.3, 1.1, (4.0, 5.0, 6.0)))
    assert shell.novelty == NoveltyScore(2, 3.0, True, "lost slices", 0.5, spots)
    assert shell.novelty.alarming == spots[:1]
    assert shell.floor == 12.5 and other.floor == 0
    assert shell.expected == {"R2": ErrorForecast(0.5, 0.4, 0.6)}
    assert (shell.difference, shell.noise, shell.beyond) == ((0.1,), (0.2,), (0.3,))
    assert (shell.bval, shell.order, shell.snr, shell.gain) == (1000.0, 4, 20.0, (1, 0.9, 0.4))
    assert other.reason == "few" and other.novelty is None and other.expected == {}
    assert quality.cleaning == Cleaning("MP-PCA", True, 12.34, 11.0)
    assert quality.outside_training == ("A sentence.",) and quality.mask_volume_ml == 1400.0
    (first, second, third, fourth) = remarks(quality)
    assert first.startswith("Noise was removed from the scan first, by MP-PCA, which measured a ")
    assert "standard deviation of 12.3 in" in first and second.startswith("Gibbs ringing")
    assert third == "Interpolated only, without the model: b9 (few)." and "order 4" in fourth
    assert comparison(quality.shells) == [
        "b1000 reaches 2.00 times the threshold of what is like the training data; 3.0 ml of the "
        "brain lie above it, most like lost slices."
    ]


def test_record_of_a_scan_that_was_not_cleaned(tmp_path):
    path = tmp_path / "quality.json"
    path.write_text(json.dumps({k: v for k, v in RECORD.items() if k != "cleaning"}))
    assert QualityRecord.read(path).cleaning == Cleaning()


@pytest.mark.parametrize(
    "record",
    [
        [RECORD],
        RECORD | {"shells": [{"name": "b1000"}]},
        {k: v for k, v in RECORD.items() if k != "snr"},
        RECORD | {"cleaning": {"by": "hand"}},
    ],
)
def test_other_records_are_refused_by_name(tmp_path, record):
    path = tmp_path / "quality.json"
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"quality\.json: not a readable record of quality .*run"):
        QualityRecord.read(path)
