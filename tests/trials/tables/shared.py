"""Runs after runs, and two at once: what is there is verified, and nobody works on another's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from trials.case import LINE, Case, Run, Step, says, says_not
from trials.judge import Ends, fails, refused, right
from trials.oracles import identical
from trials.place import Place, copy_participant, edit_image, with_one

Damage = Callable[[Path], None]

DWI = "out/sub-01/dwi/sub-01_desc-7Tlike_dwi"
FA = "out/sub-01/dwi/sub-01_model-tensor_param-fa_desc-7Tlike_dwimap"


def cut(path: Path) -> None:
    """Keep the first half."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def zeros(path: Path) -> None:
    """The same size, but nothing in it."""
    path.write_bytes(bytes(path.stat().st_size))


def flip(path: Path) -> None:
    """Change one byte in the middle, and set the time back as it was."""
    stat = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def delete(path: Path) -> None:
    """Delete a file."""
    path.unlink()


def folder_instead(path: Path) -> None:
    """A folder of the same name."""
    path.unlink()
    path.mkdir()


def damaged(name: str, pattern: str, damage: Damage) -> Case:
    """A finished run, some of whose files are damaged before the same command."""

    def before(place: Place) -> None:
        paths = sorted(place.root.glob(pattern))
        assert paths, f"nothing is named {pattern}"
        for path in paths:
            damage(path)

    again = Step(right(identical(build=with_one), labels=("01",)), before=before)
    steps = (Step(right(labels=("01",))), again)
    return Case(f"shared/{name}", steps, with_one, weight=14.0)


def _damaged() -> Iterator[Case]:
    yield damaged("dwi-cut", f"{DWI}.nii.gz", cut)
    yield damaged("dwi-one-byte", f"{DWI}.nii.gz", flip)
    yield damaged("dwi-zeros", f"{DWI}.nii.gz", zeros)
    yield damaged("bval-deleted", f"{DWI}.bval", delete)
    yield damaged("sidecar-cut", f"{DWI}.json", cut)
    yield damaged("map-zeros", f"{FA}.nii.gz", zeros)
    yield damaged("map-sidecar-one-byte", f"{FA}.json", flip)
    yield damaged("figures-zeros", "out/sub-01/figures/*.*g", zeros)
    yield damaged("a-figure-deleted", "out/sub-01/figures/sub-01_fa_after.*", delete)
    yield damaged("page-cut", "out/sub-01.html", cut)
    yield damaged("quality-deleted", "out/sub-01/dwi/*quality_dwi.*", delete)
    yield damaged("description-deleted", "out/dataset_description.json", delete)
    yield damaged("work-arrays-cut", "work/dmri7t_wf/sub_01_wf/dwi_wf/**/*.np[yz]", cut)
    yield damaged("work-results-cut", "work/dmri7t_wf/sub_01_wf/**/result_*.pklz", cut)
    yield damaged("work-one-byte", "work/dmri7t_wf/sub_01_wf/dwi_wf/**/*.safetensors", flip)
    yield damaged("work-checksums-cut", "work/dmri7t_wf/sub_01_wf/**/checksums.json", cut)
    yield damaged("work-status-cut", "work/dmri7t_wf/sub_01_wf/status.json", cut)
    yield damaged("work-hashes-deleted", "work/dmri7t_wf/sub_01_wf/dwi_wf/**/_0x*.json", delete)
    yield damaged("work-inputs-zeros", "work/dmri7t_wf/sub_01_wf/**/_inputs.pklz", zeros)
    yield damaged("work-node-pickles-cut", "work/dmri7t_wf/sub_01_wf/**/_node.pklz", cut)


def _edited() -> Iterator[Case]:
    def stronger(place: Place) -> None:
        edit_image(place.scan("01"), lambda data: data * 2)

    def taken_back(place: Place) -> None:
        edit_image(place.scan("01"), lambda data: data / 2)

    steps = (
        Step(right()),
        Step(right(), before=stronger, touches_input=True),
        Step(right(identical()), before=taken_back, touches_input=True),
    )
    yield Case("shared/input-changed-and-changed-back", steps, weight=26.0)
    other = (
        Step(right(), words="--random-seed 3 --samples 2"),
        Step(
            right(
                identical(besides="uncertainty"),
                says("rish0_desc-uncertainty.* more beside it: of a run with other options"),
            )
        ),
    )
    yield Case("shared/other-options-before", other, weight=20.0)
    third = (
        Step(right()),
        Step(
            right(says("sub-01 report is up to date"), labels=("01", "02", "03")),
            before=lambda place: copy_participant(place, "03"),
            touches_input=True,
        ),
    )
    yield Case("shared/a-participant-more", third, weight=18.0)
    broken = (
        Step(fails(r"sub-01_dwi\.bval.*missing"), before=lambda p: _move(p, True)),
        Step(right(identical()), before=lambda p: _move(p, False), touches_input=True),
    )
    yield Case("shared/failed-first-and-mended-then", broken, weight=18.0)
    cleaned = (
        Step(right(_work_is_gone), words="--clean-workdir"),
        Step(right(identical())),
    )
    yield Case("shared/after-clean-workdir", cleaned, weight=20.0)
    moved = (Step(right()), Step(right(identical()), before=_move_work))
    yield Case("shared/work-folder-of-another-place", moved, weight=20.0)
    separate = (
        Step(right(labels=("01",)), words="--participant-label 01"),
        Step(right(identical(), labels=("02",)), words="--participant-label 02"),
    )
    yield Case("shared/one-participant-after-another", separate, weight=18.0)
    redraw = (
        Step(right()),
        Step((Ends((0,), (identical(),)),), words="--reports-only", before=_drop_pages),
    )
    yield Case("shared/reports-only", redraw, weight=16.0)
    nothing = Step(refused("without --reports-only", lines=2), words="--reports-only", line=LINE)
    yield Case("shared/reports-only-without-a-run", (nothing,), weight=6.0)


def _move(place: Place, away: bool) -> None:
    here, there = place.scan(ending=".bval"), place.root / "home/kept.bval"
    (here if away else there).rename(there if away else here)


def _work_is_gone(run: Run) -> str:
    left = [*(run.place.root / "work").rglob("*")]
    return f"leaves {left[0].name} in the work folder" if left else ""


def _move_work(place: Place) -> None:
    """The work folder of another user's run, on the same data elsewhere."""
    (place.root / "work").rename(place.root / "elsewhere")
    (place.root / "elsewhere").rename(place.root / "work")
    for path in (place.root / "work").rglob("_report"):
        if path.is_dir():
            (path / "report.rst").unlink(missing_ok=True)


def _drop_pages(place: Place) -> None:
    for page in place.out.glob("sub-*.html"):
        page.unlink()


def second_run(name: str, words: str, *, alone: bool) -> Case:
    """A run while another works on the same data."""
    first = LINE.removeprefix("exec ")
    # the other one begins to compute, and stands still while this one starts
    line = (
        f"{first} > first.log 2>&1 & first=$!; "
        "while ! grep -q 'prepare done' first.log; do sleep 0.05; done; kill -STOP $first; "
        f"{first} {words}; code=$?; kill -CONT $first; wait $first; first=$?; rm first.log; "
        '[ $first = 0 ] || echo "the first run ended with $first"; exit $code'
    )
    untouched = says_not("the first run ended with")
    if alone:
        ends = (Ends((2,), (says("another run uses this folder"), untouched, identical())),)
    else:
        ends = (Ends((0,), (untouched, identical())),)
    return Case(f"shared/{name}", (Step(ends, line=line),), weight=18.0)


def _two() -> Iterator[Case]:
    yield second_run("two-at-once", "", alone=True)
    yield second_run(
        "two-at-once-with-one-participant-in-common", "--participant-label 02", alone=True
    )
    yield second_run("two-at-once-with-other-work", "-w work2", alone=True)
    yield second_run("dry-run-beside-a-run", "--dry-run", alone=False)


def two_participants_at_once() -> Case:
    """Two runs on one folder with a participant each, as array jobs do."""
    run = LINE.removeprefix("exec ")
    line = (
        f"{run} --participant-label 01 > /dev/null & other=$!; "
        f"{run} --participant-label 02; code=$?; wait $other || code=9; exit $code"
    )
    return Case(
        "shared/two-participants-at-once", (Step((Ends((0,), (identical(),)),), line=line),)
    )


CASES: tuple[Case, ...] = (*_damaged(), *_edited(), *_two(), two_participants_at_once())
