"""The harness sees what it must see: commands that end badly on purpose, and names of cases."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest

from trials import strikes
from trials.case import Case, Ending, Run, Step, Strike, says
from trials.judge import Ends, refused, right, stopped
from trials.place import Place, once
from trials.runner import (
    NOT_TRIED,
    Bench,
    Verdict,
    read_record,
    run_all,
    sample,
    tally,
    write_down,
)
from trials.tables import CASES
from trials.together import Guest, batches, may_share

ANY = (Ends((0,)),)


def build(place: Place) -> None:
    place.input.mkdir()
    (place.input / "README").write_text("for a trial\n")


def judged(tmp_path, line: str, ends: tuple[Ending, ...] = ANY, **more: object) -> str:
    """What is wrong with a command; a model is not needed."""
    return Bare(tmp_path).judge(case(line, ends, **more)).fault


def case(line: str, ends: tuple[Ending, ...] = ANY, name: str = "case", **more: object) -> Case:
    """One command, beside a data set without participants."""
    return Case(f"harness/{name}", (Step(ends, line=line, **more),), build)


class Bare(Bench):
    """For commands that use no model."""

    def model(self, name: str) -> Path:
        """Any folder."""
        return self.parent


BAD = {
    "echo Traceback; true": "traceback",
    "sleep 30 > /dev/null 2>&1 &": "leaves processes: .*sleep",
    "echo 'exec sh r' > r; sh r > /dev/null 2>&1 &": "leaves processes: ",
    "mkdir out; touch out/.part-x": r"leaves out/\.part-x",
    "mkdir -p out/logs; touch out/logs/.sub-01.lock": "leaves out/logs/.sub-01.lock",
    "mkdir out; echo '{\"snr\": NaN}' > out/a.json": "NaN is no JSON",
    "mkdir out; head -c 50 /dev/urandom > out/a.nii.gz": r"a\.nii\.gz: BadGzipFile",
    "mkdir out; echo x | gzip | head -c 12 > out/a.nii.gz": r"a\.nii\.gz: EOFError",
    "mkdir out; touch out/a.tsv": "is empty",
    "mkdir out; echo '<html>' > out/a.html": "does not end as a page",
    "echo more >> in/README": "changes its input",
    "echo problem >&2": "stderr has 'problem'",
    "touch core": "leaves core in the current folder",
    "exit 7": "exit code 7",
    "exit 1": r"none of \(0,\)",
}


@pytest.mark.parametrize("line", BAD)
def test_what_no_command_may_do_is_seen(tmp_path, line, monkeypatch):
    monkeypatch.setattr("trials.execute.GONE_SECONDS", 1.0)
    fault = judged(tmp_path, line)
    assert re.search(BAD[line], fault), fault


def test_a_command_that_does_not_end_is_ended(tmp_path):
    fault = judged(tmp_path, "sleep 60", seconds=0.5)
    assert "did not end" in fault


@pytest.mark.parametrize(
    ("line", "ends", "fault"),
    [
        ("echo 'dmri7t: a.bval: empty; mend it' >&2; exit 2", refused("a.bval", "mend"), ""),
        ("echo 'dmri7t: a.bval: empty' >&2; exit 2", refused("mend"), "does not say 'mend'"),
        ("echo 'dmri7t: x' >&2; echo 'dmri7t: y' >&2; exit 2", refused("x"), "2 lines"),
        ("echo 'dmri7t: x' >&2; exit 1", refused("x"), "exit code 1, not 2"),
        ("echo sub-01 done", right(labels=("01",)), "is missing"),
        ("echo nothing", right(labels=("01",)), "sub-01 is not done"),
        ("echo a", (Ends((0,), (says("b"),)),), "does not say 'b'"),
    ],
)
def test_endings(tmp_path, line, ends, fault):
    found = judged(tmp_path, line, ends)
    assert fault in found if fault else not found


def test_strikes_hit_at_their_line(tmp_path):
    line = "echo begun; exec sleep 30"
    strike = Strike("begun", strikes.to_driver(signal.SIGKILL), 0.1)
    assert not judged(tmp_path, line, stopped(-9), strike=strike)
    late = Strike("never", strikes.to_driver(signal.SIGKILL))
    assert "before it could be struck" in judged(tmp_path, "true", strike=late)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_signals_that_are_ignored_here_end_commands_all_the_same(tmp_path, number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        bench = Bare(tmp_path)
        # ignored here as before
        os.kill(os.getpid(), number)
        strike = Strike("begun", strikes.to_group(number), 0.1)
        struck = case("echo begun; exec sleep 30", stopped(-number), strike=strike)
        assert not bench.judge(struck).fault
    finally:
        signal.signal(number, before)


def test_there_are_enough_cases_of_each_kind():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 150
    tables = Counter(name.split("/")[0] for name in names)
    assert tables["kills"] >= 40 and tables["sizes"] >= 5
    sampled = {case.name.split("/")[0] for case in sample(CASES, 150)}
    assert sampled == set(tables) - {"sizes"}


def test_cases_that_share_a_run_are_scans_for_one_model():
    shared = [*batches(CASES, 12)]
    assert sorted(c.name for batch in shared for c in batch) == sorted(c.name for c in CASES)
    for batch in shared:
        assert len({case.model for case in batch}) == 1 and len(batch) <= 12
        assert len(batch) == 1 or all(may_share(case) for case in batch)
    assert sum(len(batch) > 1 for batch in shared) > 10
    assert all(len(batch) == 1 for batch in batches(CASES, 1))


def test_each_of_a_shared_run_sees_its_own_part_alone(tmp_path):
    shared, case = Place.make(tmp_path), CASES[0]
    guests = [Guest(case, Place.make(tmp_path), label) for label in ("trial000", "trial001")]
    for guest in guests:
        for name in (f"sub-{guest.label}.html", f"sub-{guest.label}/dwi/sub-{guest.label}_a.json"):
            (shared.out / name).parent.mkdir(parents=True, exist_ok=True)
            (shared.out / name).write_text(guest.label)
    said = "Input: data\nsub-trial000 done\nsub-trial001 FAILED: sub-trial001_dwi.bval: empty\n"
    run = Run(shared, tmp_path, 1, said, "dmri7t: sub-trial001: empty\n", False, [], 1.0)
    done, failed = (guest.part_of(run, ["trial000", "trial001"]) for guest in guests)
    assert (done.code, done.stdout) == (0, "Input: data\nsub-01 done\n") and not done.stderr.strip()
    assert failed.code == 1 and "sub-01 FAILED: sub-01_dwi.bval: empty" in failed.stdout
    assert (done.place.out / "sub-01/dwi/sub-01_a.json").read_text() == "trial000"
    assert (failed.place.out / "sub-01.html").read_text() == "trial001"


def test_a_record_goes_on_where_it_stopped(tmp_path):
    record, (one, two) = tmp_path / "record.tsv", CASES[:2]
    for verdict in (Verdict(one, "it\nfell", 1, ""), Verdict(two, "", 2, "right")):
        write_down(record, verdict)
    write_down(record, Verdict(one, "", 3, "clear error"))
    found = {v.case.name: (v.fault, v.kind) for v in read_record(record, CASES)}
    assert found == {one.name: ("", "clear error"), two.name: ("", "right")}


def test_several_are_tried_at_once_and_each_has_its_verdict(tmp_path, capsys):
    # each waits until the other has begun: one after another would take the time to its end
    line = "touch ../{0}; for i in $(seq 100); do [ -e ../{1} ] && exit 0; sleep 0.1; done; exit 1"
    cases = [case(line.format(x, y), name=x) for x, y in (("a", "b"), ("b", "a"))]
    absent = attrs.evolve(case("true", name="c"), needs=("wings",))
    verdicts = run_all(Bare(tmp_path), [*cases, absent], tmp_path / "record.tsv", jobs=2)
    assert {v.case.name: (v.fault, v.kind) for v in verdicts} == {
        "harness/a": ("", "right"),
        "harness/b": ("", "right"),
        "harness/c": ("", NOT_TRIED),
    }
    assert "[trials] 3/3 " in capsys.readouterr().out
    assert len(read_record(tmp_path / "record.tsv", cases)) == 2
    assert "2 right, 0 clear error, 0 wrong, 1 not tried\n  harness/c: not tried" in tally(verdicts)


def test_what_cases_share_is_made_once(tmp_path):
    made = list[int]()

    def make() -> int:
        time.sleep(0.05)
        made.append(1)
        return len(made)

    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda _: once(tmp_path, make), range(8))]
    assert found == [1] * 8 and made == [1]


def test_the_tally_lists_what_is_wrong():
    case = CASES[0]
    said = tally([Verdict(case, "", 60, "right"), Verdict(case, "it fell", 60, "")])
    assert said.startswith("2 cases in 2 min, one after another: 1 right, 0 clear error, 1 wrong\n")
    assert f"{case.name}: wrong: it fell" in said
