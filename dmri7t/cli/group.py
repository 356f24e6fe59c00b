"""The level group of the BIDS App: one table and one page of all participants' results."""

from __future__ import annotations

import argparse
import shlex

from dmri7t.cli.messages import complain, say


def run_group(args: argparse.Namespace, labels: list[str]) -> int:
    """Gather the results of participants; return the exit code.

    Parameters
    ----------
    args : Namespace
        Of the command line.
    labels : list of str
        Participants to look for.

    Raises
    ------
    InputError
        If there is nothing to gather.
    """
    from dmri7t.execution.limits import processors
    from dmri7t.io.dataset_files import write_ignored
    from dmri7t.reports.group.gather import gather_group
    from dmri7t.reports.group.write import write_group

    out_dir = args.out_dir.resolve()
    restricted = bool(args.participant_label or args.session_id)
    threads = args.nprocs or processors()
    group = gather_group(out_dir, labels, args.session_id, restricted, threads)
    for label, reasons in group.failed.items():
        complain(f"sub-{label}: failed in its last run: {'; '.join(reasons)}")
    for label in group.missing:
        complain(f"sub-{label}: in the data set, but without results in {out_dir}")
    for label in group.unreported:
        complain(f"sub-{label}: has results, but no report; run the participant again")
    for sentence in (*group.broken, *group.mixed):
        complain(sentence)
    # so that an output of an earlier version stays valid
    write_ignored(out_dir)
    n_participants = len({scan.label for scan in group.scans})
    n = len(group.scans)
    scans = f"{n} {'scan' if n == 1 else 'scans'}"
    say(f"{scans}; {n_participants} of {len(labels)} participants have results")
    for path in write_group(group, out_dir, shlex.join(["dmri7t", *args.argv])):
        say(f"wrote: {path}")
    return 0
