"""The commands dmri7t and dmri7t-model."""
