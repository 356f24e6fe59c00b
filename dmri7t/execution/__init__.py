"""How a graph is run: workers, limits, and the status of a run."""
