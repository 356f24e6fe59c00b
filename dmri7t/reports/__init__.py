"""Pictures and the HTML page of a participant."""

from dmri7t.reports.maps import MapFile, ScanMaps, SignalRows, input_maps, output_maps
from dmri7t.reports.page import page_pictures, write_report
from dmri7t.reports.quality import QualityRecord, ShellQuality
from dmri7t.reports.records import (
    ModelCard,
    ModelMetrics,
    NodeTime,
    ParticipantReport,
    ScanReport,
    read_node_times,
    software_versions,
)

__all__ = [
    "MapFile",
    "ModelCard",
    "ModelMetrics",
    "NodeTime",
    "ParticipantReport",
    "QualityRecord",
    "ScanMaps",
    "ScanReport",
    "ShellQuality",
    "SignalRows",
    "input_maps",
    "output_maps",
    "page_pictures",
    "read_node_times",
    "software_versions",
    "write_report",
]
