"""All cases, table by table."""

from trials.tables import (
    broken,
    choices,
    headers,
    interrupted,
    kills,
    laboratories,
    models,
    others,
    places,
    scans,
    schemes,
    shared,
    sizes,
    surroundings,
)

TABLES = (
    surroundings,
    places,
    scans,
    headers,
    schemes,
    broken,
    laboratories,
    choices,
    others,
    models,
    shared,
    interrupted,
    kills,
    sizes,
)

CASES = tuple(case for table in TABLES for case in table.CASES)
"""In the order in which they are tried."""
