"""What a run stands on is taken away in mid-run: folders, files, room, memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from trials import strikes
from trials.case import Case, Check, Ending, Run, Step, Strike, says
from trials.judge import Ends, fails, refused, right
from trials.oracles import identical
from trials.place import Edit, Place, with_base, with_one

GO_ON = Step(right(identical()))

ONE = right(identical(build=with_one), labels=("01",))


def loses(
    name: str, moment: str, *gone: str, ends: tuple[Ending, ...], then: tuple[Step, ...] = (GO_ON,)
) -> Case:
    """A run from under which files are deleted; it ends truly, and the next one is right."""
    strike = Strike(moment, strikes.remove(*gone))
    first = Step(ends, strike=strike, touches_input=True)
    return Case(f"interrupted/{name}", (first, *then), weight=18.0)


def failed(*checks: Check) -> tuple[Ending, ...]:
    """Some participant failed, for reasons that are all given."""
    return (Ends((1,), (_reasons, *checks)),)


def _reasons(run: Run) -> str:
    """Every participant is told in a summary, and nobody's reason is missing."""
    if "\nSummary:\n" not in run.stdout:
        return "no summary"
    summary = run.stdout.split("\nSummary:\n")[1]
    for line in summary.splitlines():
        if line.endswith(("NOT FINISHED", "unknown reason")) or "exit code 1," in line:
            return f"no reason: {line}"
    return ""


GONE = r"sub-\d\d (FAILED|NOT FINISHED): .*(is not there|was deleted|no such)"


def _cases() -> Iterator[Case]:
    for moment in ("prepare done", "encode done", "harmonize started", "sub-01 report started"):
        name = moment.split()[-2].replace("_", "-")
        yield loses(f"work-gone-at-{name}", moment, "work", ends=(*failed(says(GONE)), *right()))
    for moment in ("represent started", "ds_tensor started"):
        # what is written afterwards makes the folder again
        name = moment.split()[0].replace("_", "-")
        yield loses(f"out-gone-at-{name}", moment, "out", ends=(*failed(), *right()))
    restored = Step(right(identical()), before=_restore, touches_input=True)
    yield loses(
        "image-gone-at-need",
        "^The run needs",
        "in/sub-01/dwi/sub-01_dwi.nii.gz",
        ends=fails(r"sub-01_dwi\.nii\.gz.*(is not there|missing)"),
        then=(restored,),
    )
    yield loses(
        "all-input-gone-at-need",
        "^The run needs",
        "in",
        ends=failed(says(r"sub-01 FAILED: .*(is not there|missing)")),
        then=(restored,),
    )
    yield loses(
        "bval-gone-at-candidates",
        "^Candidate scans",
        "in/sub-01/dwi/sub-01_dwi.bval",
        ends=(*fails(r"sub-01_dwi\.bval"), *right()),
        then=(restored,),
    )
    yield loses(
        "tmp-gone-at-encode", "encode started", "tmp", ends=(*failed(), *right(identical()))
    )
    gone = Strike("prepare started", strikes.remove("own/mean.safetensors"))
    line = Step(()).line.replace("$MODEL", "own")
    lost = failed(says(r"FAILED: .*own.*(is not there|missing|not found)"))
    own = Step(lost, line=line, strike=gone)
    yield Case("interrupted/model-gone-at-prepare", (own,), _with_own_model)
    for megabytes, where in ((1, "out"), (1, "work"), (2, "both"), (3, "both")):
        yield full_disk(megabytes, where)
    for blocks in (8, 64, 200):
        # of 1024 bytes: no file may be larger
        step = Step(
            (*failed(says("ulimit -f|File too large|larger than")), *ONE),
            line=f"ulimit -f {blocks}; {Step(()).line}",
        )
        yield Case(f"interrupted/file-limit-{blocks}k", (step, Step(ONE)), with_one, weight=14.0)
    for kilobytes in (300_000, 500_000, 900_000, 1_500_000):
        says_why = (*failed(says("memory")), *refused("memory", code=1), *refused("memory"))
        step = Step((*says_why, *ONE), line=f"ulimit -v {kilobytes}; {Step(()).line}")
        name = f"interrupted/addresses-{kilobytes // 1000}M"
        yield Case(name, (step, Step(ONE)), with_one, weight=14.0)
    for files in (24, 48, 96):
        says_why = (*failed(says("open files")), *refused("open files", code=1))
        step = Step(
            (*says_why, *refused("open files"), *ONE),
            line=f"ulimit -n {files}; {Step(()).line}",
        )
        yield Case(f"interrupted/open-files-{files}", (step, Step(ONE)), with_one, weight=14.0)


def _restore(place: Place) -> None:
    shutil.rmtree(place.input, ignore_errors=True)
    with_base(place)


def _with_own_model(place: Place) -> None:
    with_base(place)
    shutil.copytree(place.root.parent / "model", place.root / "own")


def full_disk(megabytes: int, where: str) -> Case:
    """A file system of its own that fills in mid-run, seen by the command alone."""
    folders = ("out", "work") if where == "both" else (where,)

    def prepare(place: Place) -> None:
        with_base(place)
        for folder in folders:
            (place.root / folder).mkdir()

    mounts = " && ".join(f"mount -t tmpfs -o size={megabytes}m none $PWD/{f}" for f in folders)
    # what is left is looked at from within, before the file system is gone
    inner = (
        f"{mounts} || exit 99; {Step(()).line.removeprefix('exec ')}; code=$?; "
        'find out -name ".part-*" -printf "LEFT %p\\n"; exit $code'
    )
    line = f"exec unshare -rm bash -c '{inner}'"
    full: Edit = prepare
    ends = (*failed(says("No space left"), _no_parts), *refused("GiB are free"), Ends((0,)))
    name = f"interrupted/disk-of-{megabytes}M-for-{where}"
    return Case(name, (Step(ends, line=line),), full, needs=("tmpfs",), weight=12.0)


def _no_parts(run: Run) -> str:
    return "leaves parts" if "LEFT " in run.stdout else ""


CASES: tuple[Case, ...] = tuple(_cases())
