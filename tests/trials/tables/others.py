"""One participant's trouble is his own: the first of two has it, and the other is done."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path

from trials import strikes
from trials.case import LINE, Case, Check, Ending, Step, Strike, says
from trials.edits import bvals, changed, header, image, sidecar, text
from trials.judge import Ends, fails, right
from trials.oracles import identical, same_of
from trials.place import Edit, Place, copy_participant, with_base

RUN = LINE.removeprefix("exec ")
AS_NOBODY = "chmod 777 .; exec setpriv --reuid=65534 --regid=65534 --clear-groups "

BOTH = (same_of("01"), same_of("02"))


def troubled(
    name: str,
    edit: Edit,
    *ends: Ending,
    mend: Edit | None = None,
    line: str = LINE,
    needs: tuple[str, ...] = (),
) -> Case:
    """A run of two participants; with ``mend``, the same command after it ends as always."""
    first = Step(ends, line=line)
    again = (Step(right(identical()), before=mend, touches_input=True),) if mend else ()
    build = changed(edit, with_base)
    return Case(f"others/{name}", (first, *again), build, needs=needs, weight=12.0)


def lost(*patterns: str, in_the_way: tuple[str, ...] = ()) -> tuple[Ending, ...]:
    """The first fails for this reason, and the other's results are as always."""
    return fails(*patterns, checks=(same_of("02"),), in_the_way=in_the_way)


def told(*patterns: str, codes: tuple[int, ...] = (1,), checks: tuple[Check, ...] = BOTH) -> Ends:
    """Both have their results, and this is said."""
    return Ends(codes, (*(says(pattern) for pattern in patterns), *checks))


def _scans() -> Iterator[Case]:
    def kept(edit: Edit) -> Edit:
        def both(place: Place) -> None:
            shutil.copytree(place.scan().parent, place.root / "home/kept")
            edit(place)

        return both

    def restored(place: Place) -> None:
        shutil.rmtree(place.scan().parent)
        shutil.move(place.root / "home/kept", place.scan().parent)

    name = r"sub-01_dwi"
    edits: dict[str, tuple[Edit, str]] = {
        "image-cut": (text(".nii.gz", lambda b: b[: len(b) // 2]), rf"{name}\.nii\.gz"),
        "image-of-zeros": (image(lambda data: data * 0), name),
        "header-not-whole": (text(".nii.gz", lambda b: gzip.compress(b"\x5c\1\0\0" * 50)), name),
        "voxels-begin-in-the-header": (header(vox_offset=0), "vox_offset"),
        "sidecar-nested": (text(".json", lambda b: b"[" * 3000 + b"]" * 3000), r"\.json"),
        "all-b0": (bvals(lambda row: row * 0), "b0"),
        "field-7": (sidecar(MagneticFieldStrength=7), "7 ?T"),
        "no-folder-dwi": (lambda p: shutil.rmtree(p.scan().parent), "no diffusion scan"),
    }
    for key, (edit, pattern) in edits.items():
        mend = restored if key in ("image-cut", "sidecar-nested") else None
        yield troubled(key, kept(edit), *lost(pattern), mend=mend)
    long = "L" * 225
    yield troubled(
        "long-label",
        lambda p: _moved(p, long),
        *fails("shorter|too long", label=long, checks=(same_of("02"),)),
    )
    wrong = Strike("^The run needs", strikes.change(text(".nii.gz", lambda b: b[:500])))
    cut = Step((*lost(rf"{name}\.nii\.gz"), *right()), strike=wrong, touches_input=True)
    yield Case("others/image-cut-in-mid-run", (cut,), weight=12.0)
    second = changed(_second_scan, with_base)
    said = told(r"run-2_dwi\.bval.*empty", "sub-01 done with its other scans")
    yield Case("others/one-of-two-scans", (Step((said,)),), second, weight=12.0)


def _moved(place: Place, label: str) -> None:
    copy_participant(place, label, "01")
    shutil.rmtree(place.scan().parent.parent)


def _second_scan(place: Place) -> None:
    """Another scan of the first participant, whose b-values are missing."""
    place.scan().with_name("sub-01_run-2_dwi.bval").touch()
    for ending in (".nii.gz", ".bvec", ".json"):
        shutil.copyfile(
            place.scan(ending=ending), place.scan().with_name(f"sub-01_run-2_dwi{ending}")
        )


def _folders() -> Iterator[Case]:
    for key, folder in {
        "a-copy": "sub-01 copy",
        "a-backup": "sub-01.bak",
        "underscore": "sub-a_b",
        "umlaut": "sub-ä",
        "empty": "sub-03",
    }.items():

        def build(place: Place, folder: str = folder) -> None:
            if folder == "sub-03":
                (place.input / folder / "dwi").mkdir(parents=True)
            else:
                shutil.copytree(place.input / "sub-01", place.input / folder)

        yield troubled(f"folder-{key}", build, told(rf"{folder} FAILED: "))

    def nameless(place: Place) -> None:
        shutil.copytree(place.input / "sub-01", place.input / "sub-")

    yield troubled("folder-without-a-label", nameless, *right(identical()))

    def linked(place: Place) -> None:
        (place.input / "sub-01").rename(place.root / "home/sub-01")
        (place.input / "sub-01").symlink_to(place.root / "home/sub-01")

    yield troubled("folder-a-link", linked, *right(identical()))
    for key, path in {"folder": "sub-01/dwi", "image": "sub-01/dwi/sub-01_dwi.nii.gz"}.items():

        def closed(place: Place, path: str = path) -> None:
            (place.input / path).chmod(0)

        yield troubled(
            f"{key}-not-readable",
            closed,
            *lost("permission denied"),
            line=AS_NOBODY + RUN,
            needs=("nobody",),
        )


def _obstacles() -> Iterator[Case]:
    def file(name: str) -> Edit:
        def build(place: Place) -> None:
            (place.root / name).parent.mkdir(parents=True)
            (place.root / name).write_text("in the way\n")

        return build

    def folder(name: str) -> Edit:
        return lambda place: (place.root / name).mkdir(parents=True)

    def gone(name: str) -> Edit:
        def mend(place: Place) -> None:
            path: Path = place.root / name
            path.rmdir() if path.is_dir() else path.unlink()

        return mend

    work = "work/dmri7t_wf/sub_01_wf"
    yield troubled("file-in-work", file(work), *lost("in the way"), mend=gone(work))
    node = f"{work}/dwi_wf/prepare"
    yield troubled("file-for-a-node", file(node), *lost("in the way"), mend=gone(node))
    for key, name in {"participant": "out/sub-01", "scans": "out/sub-01/dwi"}.items():
        way = lost("in the way", in_the_way=(Path(name).name,))
        yield troubled(f"file-for-{key}", file(name), *way, mend=gone(name))
    dwi = "out/sub-01/dwi/sub-01_desc-7Tlike_dwi.nii.gz"
    yield troubled("folder-for-the-scan", folder(dwi), *lost("in the way"), mend=gone(dwi))
    page = "out/sub-01.html"
    said = told(r"sub-01 FAILED: .*sub-01\.html.*in the way")
    yield troubled("folder-for-the-page", folder(page), said, mend=gone(page))
    figures = "out/sub-01/figures"
    rest = (same_of("01", without="figures"), same_of("02"))
    said = told(r"sub-01 FAILED: .*figures.*in the way", checks=rest)
    yield troubled("file-for-figures", file(figures), said, mend=gone(figures))
    record = "out/logs/sub-01_status.json"
    said = told("its record cannot be written", codes=(0, 1))
    yield troubled("folder-for-the-record", folder(record), said, mend=gone(record))


CASES: tuple[Case, ...] = (*_scans(), *_folders(), *_obstacles())
