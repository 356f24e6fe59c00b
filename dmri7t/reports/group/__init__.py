"""All scans of a derivative data set: one table, one page."""
