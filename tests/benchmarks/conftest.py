"""The benchmarks are commands, no tests: they are not collected."""

collect_ignore_glob = ["*.py"]
