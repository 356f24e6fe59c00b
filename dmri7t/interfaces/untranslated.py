"""Stages of a scan of which no shell goes through the model: what shells give is no input."""

from __future__ import annotations

from nipype.interfaces.base import File, traits

from dmri7t.interfaces.harmonize import Harmonize, HarmonizeInputSpec
from dmri7t.interfaces.measure import MeasureQuality, MeasureQualityInputSpec
from dmri7t.interfaces.write import WriteDWI, WriteDWIInputSpec


def _no_files() -> traits.List:
    return traits.List(File(exists=True), usedefault=True, desc="none: no shell is translated")


class InterpolateInputSpec(HarmonizeInputSpec):
    """Inputs of :class:`Interpolate`."""

    representations = _no_files()
    estimates = _no_files()
    generated = _no_files()


class Interpolate(Harmonize):
    """Bring every volume to the output's grid, and nothing else."""

    input_spec = InterpolateInputSpec


class MeasureInterpolatedInputSpec(MeasureQualityInputSpec):
    """Inputs of :class:`MeasureInterpolated`."""

    representations = _no_files()
    estimates = _no_files()
    novelty = _no_files()


class MeasureInterpolated(MeasureQuality):
    """Gather the quality metrics that need no shell."""

    input_spec = MeasureInterpolatedInputSpec


class WriteInterpolatedInputSpec(WriteDWIInputSpec):
    """Inputs of :class:`WriteInterpolated`."""

    representations = _no_files()


class WriteInterpolated(WriteDWI):
    """Write the interpolated scan."""

    input_spec = WriteInterpolatedInputSpec
