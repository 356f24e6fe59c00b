"""How good a model is: cases, methods, metrics, tables and pictures."""
