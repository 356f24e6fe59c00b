"""Figures and the HTML page of a participant."""

from dmri7t.reports.page import page_pictures, write_report
from dmri7t.reports.records import (
    MapFile,
    ModelCard,
    NodeTime,
    ParticipantReport,
    Quality,
    ScanMaps,
    ScanReport,
    ShellFigures,
    read_node_times,
    software_versions,
    stage_maps,
)

__all__ = [
    "MapFile",
    "ModelCard",
    "NodeTime",
    "ParticipantReport",
    "Quality",
    "ScanMaps",
    "ScanReport",
    "ShellFigures",
    "page_pictures",
    "read_node_times",
    "software_versions",
    "stage_maps",
    "write_report",
]
