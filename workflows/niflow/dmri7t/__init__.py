"""Workflows that turn 3T diffusion MRI into 7T-like diffusion MRI."""

from niflow.dmri7t.measure import init_measure_wf
from niflow.dmri7t.outputs import init_outputs_wf
from niflow.dmri7t.participant import (
    init_dmri7t_wf,
    init_participant_wf,
    participant_wf_name,
)
from niflow.dmri7t.plan import (
    ScanPlan,
    describe_reasons,
    model_settings,
    plan_scan,
    plan_series,
)
from niflow.dmri7t.scan import init_scan_wf
from niflow.dmri7t.shell import init_shell_wf

__all__ = [
    "ScanPlan",
    "describe_reasons",
    "init_dmri7t_wf",
    "init_measure_wf",
    "init_outputs_wf",
    "init_participant_wf",
    "init_scan_wf",
    "init_shell_wf",
    "model_settings",
    "participant_wf_name",
    "plan_scan",
    "plan_series",
]
