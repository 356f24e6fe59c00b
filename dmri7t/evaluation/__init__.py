"""Folds, tables and figures of how good a model is."""
