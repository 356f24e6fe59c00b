"""Kinds of input: a file each, and a line each in :mod:`dmri7t.io.kinds.registry`.

A kind says how its data sets are recognised, where their participants lie, which of their images
are scans, and in which words log, methods, report and docs speak of them. All else asks the kind.
"""
