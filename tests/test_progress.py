"""Progress: one line that is written over on a terminal, plain lines in a log."""

from __future__ import annotations

import io
import time
from contextlib import redirect_stdout

from dmri7t.progress import ERASE, QUIET_SECONDS, Progress, note, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def slow(n):
    for item in range(n):
        time.sleep(0.02)
        yield item


def test_a_log_has_plain_lines_with_the_time_left(capsys):
    assert list(track(slow(3), "fit", 3)) == [0, 1, 2]
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\r" not in said
    lines = said.splitlines()
    assert [line.split("  ")[0] for line in lines] == [f"[fit] subject {i} of 3" for i in (1, 2, 3)]
    assert lines[0].endswith(" s left") and "left" not in lines[-1]


def test_what_passes_stands_in_a_log_only_after_a_silence(capsys):
    progress = Progress("fit", 10)
    progress.show(1, "one", passing=True)
    progress.said -= QUIET_SECONDS + 1
    progress.show(2, "two", passing=True)
    progress.show(3, "three", passing=True)
    said = capsys.readouterr().out
    assert "two" in said and "one" not in said and "three" not in said


def test_a_terminal_has_one_line_that_is_written_over(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    progress = Progress("fit", 2)
    with redirect_stdout(Terminal()) as terminal:
        progress.show(1, "x" * 100, passing=True)
        note("something to keep")
        progress.show(1, "one")
        progress.show(2, "two")
    parts = terminal.getvalue().split(ERASE)
    assert len(parts[1]) == 59 and "\n" not in parts[1]
    assert parts[2] == "something to keep\n"
    assert parts[3].startswith("[fit] one  ") and parts[4] == "[fit] two\n"


def test_steps_that_were_done_before_do_not_count_for_the_time():
    progress = Progress("mean", 100, first=90, begun=time.monotonic() - 10)
    assert progress.line(95, "step 95") == "[mean] step 95  10 s left"
