"""The record of everything that decides a result."""

from typing import get_args

import attrs
import pytest

from dmri7t.errors import InputError
from dmri7t.models.config import Form
from dmri7t.settings import FORMS, Settings

SETTINGS = Settings('/models/a "b"', "default", "1.0", "0" * 64, 10, 4)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"shells": (1000, 2000.5)},
        {"output_resolution": (1.05,)},
        {"sh_order": 6},
        {"output_resolution": [1, 1, 2]},
        {"laplace_beltrami": 0.006, "device": "cuda"},
        {"bval_range": (700, 3000), "consistency": 0.25},
    ],
)
def test_toml_round_trip(changes):
    settings = attrs.evolve(SETTINGS, **changes)
    assert Settings.from_toml(settings.to_toml()) == settings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"upsampling": "nearest"}, "upsampling"),
        ({"samples": -1}, "samples"),
        ({"output_resolution": "fine"}, "output_resolution"),
        ({"ratio_lower": 2.0}, "ratio"),
        ({"output_resolution": (1.0, 2.0)}, "output_resolution"),
        ({"consistency": 1.5}, "consistency"),
        ({"energy": -0.1}, "energy"),
        ({"weigh_by": "coin"}, "weigh_by"),
        ({"estimate": "mode"}, "estimate"),
        ({"bval_range": (700,)}, "bval_range"),
    ],
)
def test_nonsense_is_refused(changes, words):
    with pytest.raises(InputError, match=words):
        attrs.evolve(SETTINGS, **changes)


def test_unreadable_text_is_refused():
    for text in ("model = ", "colour = 1\n", 'model = "x"\n'):
        with pytest.raises(InputError, match="settings"):
            Settings.from_toml(text)


def test_digest_follows_what_decides_results():
    assert SETTINGS.digest() == attrs.evolve(SETTINGS, model="/elsewhere").digest()
    assert SETTINGS.digest() == attrs.evolve(SETTINGS, device="cuda").digest()
    assert SETTINGS.digest() != attrs.evolve(SETTINGS, random_seed=1).digest()
    assert SETTINGS.digest() != attrs.evolve(SETTINGS, model_sha256="f" * 64).digest()


def test_the_floor_stays_in_what_is_held_to_the_measurement():
    assert SETTINGS.removes_floor
    for changes in ({"consistency": 0.25}, {"weigh_by": "model"}, {"remove_floor": False}):
        assert not attrs.evolve(SETTINGS, **changes).removes_floor


def test_models_that_scale_wholly_are_held_to_the_scan_unless_the_model_is_to_decide():
    assert not SETTINGS.holds_level and SETTINGS.weighed_by_scan
    for form in ("direct", "regression"):
        settings = attrs.evolve(SETTINGS, model_form=form)
        assert settings.holds_level and settings.removes_floor and not settings.weighed_by_scan
        assert not attrs.evolve(settings, weigh_by="model").holds_level


def test_bounds_of_the_ratio_are_those_of_the_signal_package():
    from dmri7t.signal.rish import LOWER, UPPER

    settings = Settings("m", "m", "1", "ab", 5, 1)
    assert (settings.ratio_lower, settings.ratio_upper) == (LOWER, UPPER)


def test_forms_are_those_of_models():
    assert get_args(Form) == FORMS
