"""Workflows that turn 3T diffusion MRI into 7T-like diffusion MRI."""

from niflow.dmri7t.harmonize import init_harmonize_wf
from niflow.dmri7t.measure import init_measure_wf
from niflow.dmri7t.outputs import init_outputs_wf
from niflow.dmri7t.participant import (
    init_dmri7t_wf,
    init_participant_wf,
    participant_wf_name,
)
from niflow.dmri7t.plan import ScanPlan, model_settings, plan_scan, plan_series
from niflow.dmri7t.prepare import init_prepare_wf
from niflow.dmri7t.represent import init_represent_wf
from niflow.dmri7t.scan import describe_result, init_scan_wf, output_names
from niflow.dmri7t.translate import init_translate_wf

__all__ = [
    "ScanPlan",
    "describe_result",
    "init_dmri7t_wf",
    "init_harmonize_wf",
    "init_measure_wf",
    "init_outputs_wf",
    "init_participant_wf",
    "init_prepare_wf",
    "init_represent_wf",
    "init_scan_wf",
    "init_translate_wf",
    "model_settings",
    "output_names",
    "participant_wf_name",
    "plan_scan",
    "plan_series",
]
