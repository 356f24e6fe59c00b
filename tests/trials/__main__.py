"""Run trials: ``python -m trials`` in ``tests``, or ``make trials``."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from trials.runner import (
    Bench,
    lower_priority,
    processors,
    read_record,
    run_all,
    sample,
    tally,
)
from trials.tables import CASES


def main() -> None:
    """Run the command line; the exit code is 1 if any case is wrong."""
    parser = argparse.ArgumentParser("trials", description=__doc__)
    parser.add_argument("pattern", nargs="*", help="names of cases, such as 'kills/*'")
    parser.add_argument("--sample", type=float, metavar="SECONDS", help="a sample of this length")
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work here; keep what is wrong")
    parser.add_argument(
        "--together",
        type=int,
        default=12,
        metavar="N",
        help="cases that differ in their scan alone share a run, N at a time; 1: each has its own "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=processors(),
        metavar="N",
        help="runs at a time, a processor each (default: %(default)s)",
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="write verdicts down here; what it says is right is not tried again, so that pieces "
        "add up to the whole",
    )
    args = parser.parse_args()
    asked = args.pattern or ["*"]
    # in the order that they are asked for, each once
    cases = [*dict.fromkeys(c for p in asked for c in CASES if fnmatch.fnmatch(c.name, p))]
    if args.sample:
        cases = sample(cases, args.sample)
    if args.list:
        print("\n".join(case.name for case in cases) + f"\n{len(cases)} cases")
        return
    earlier = read_record(args.record, cases) if args.record else []
    passed = [verdict for verdict in earlier if not verdict.fault]
    names = {verdict.case.name for verdict in passed}
    cases = [case for case in cases if case.name not in names]
    lower_priority()
    with TemporaryDirectory(prefix="trials-") as scratch:
        parent = args.keep or Path(scratch)
        parent.mkdir(parents=True, exist_ok=True)
        parent.chmod(0o755)
        bench = Bench(parent.resolve(), keep=args.keep is not None)
        verdicts = [*passed, *run_all(bench, cases, args.record, args.together, args.jobs)]
    print(tally(verdicts))
    sys.exit(any(verdict.fault for verdict in verdicts))


if __name__ == "__main__":
    main()
