"""Masks that are not those of one whole human brain are said to be so."""

from __future__ import annotations

import numpy as np
import pytest

from dmri7t.signal.extent import cut, empty_slices, extent_sentences

SIZES = np.full(3, 2.5)


def head(scale: float = 1.0) -> np.ndarray:
    """An ellipsoid of 1.5 l, amid its image, or a smaller one."""
    places = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in (76, 92, 76)]), -1)
    return ((places * SIZES / (scale * np.array([84.0, 67.0, 64.0]))) ** 2).sum(-1) < 1


def test_a_human_brain_is_nothing_to_speak_of():
    assert extent_sentences(head(), SIZES) == []


def test_an_animals_brain_is_too_small():
    (sentence,) = extent_sentences(head(0.35), SIZES)
    assert "the brain mask holds 6" in sentence and "700 to 2200 ml" in sentence


def test_a_newborns_brain_is_called_what_it_is():
    (sentence,) = extent_sentences(head(0.6), SIZES)
    assert "newborn" in sentence and "of a person" not in sentence


def test_a_brain_cut_at_both_ends_is_warned_of_whatever_its_size():
    (sentence,) = extent_sentences(head()[:, :, 12:62], SIZES)
    assert "part of the brain was not measured" in sentence


def test_an_empty_mask_breaks_nothing():
    assert "holds 0 ml" in extent_sentences(np.zeros((5, 5, 5), bool), SIZES)[0]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_part_of_a_brain_is_called_so(axis):
    mask = np.moveaxis(np.moveaxis(head(), axis, 0)[34:46], 0, axis)
    assert cut(mask)
    (sentence,) = extent_sentences(mask, SIZES)
    assert "part of the brain was not measured" in sentence


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_empty_slices_within_are_counted(axis):
    mask = head()
    np.moveaxis(mask, axis, 0)[35:38] = False
    assert empty_slices(mask)[axis] == 3
    (sentence,) = extent_sentences(mask, SIZES)
    assert sentence == "3 slices within the brain have no signal."
