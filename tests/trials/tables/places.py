"""Any name of a folder, and any kind of folder, that data, results or work may have."""

from __future__ import annotations

import os
from collections.abc import Iterator

from trials.case import LINE, Case, Ending, Step
from trials.judge import Ends, refused, right
from trials.oracles import ALONE, identical, nothing_written
from trials.place import Edit, Place, with_one

NAMES = {
    "spaces": "my results of 3T",
    "percent": "50%_done%(here)s",
    "quotes": 'it\'s "quoted"',
    "newline": "two\nlines",
    "hash-and-colon": "a#b:c;d,e",
    "brackets": "[x]{y}(z)*?",
    "dollar": "$HOME`ls`",
    "backslash": "back\\slash",
    "umlauts": "dätä",
    "decomposed": "da\u0308ta\u0308",
    "japanese": "拡散",
    "emoji": "🧠",
    "dash": "-out",
    "dots": "...",
    "tilde": "~nobody",
    "equals": "a=b",
    "long": "n" * 200,
    "html": "<b>&amp;",
}


def renamed(name: str, folder: str, variables: str = "") -> Case:
    """All three folders lie below one of this name."""

    def build(place: Place) -> None:
        (place.root / folder).mkdir()
        with_one(place)
        place.input.rename(place.root / folder / "in")

    def bring_back(place: Place) -> None:
        for part in ("in", "out"):
            (place.root / folder / part).rename(place.root / part)

    quoted = "'" + f"./{folder}".replace("'", "'\\''") + "'"
    line = LINE.replace(" in out ", f" {quoted}/in {quoted}/out ").replace(
        "-w work", f"-w {quoted}/work"
    )
    line = f"{variables} {line.removeprefix('exec ')}" if variables else line
    again = Step(
        (Ends((0,), (identical(build=with_one),)),),
        line="true",
        before=bring_back,
        touches_input=True,
    )
    first = Step((Ends((0,)),), line=line)
    return Case(f"places/{name}", (first, again), build, weight=10.0)


def refuses(name: str, line: str, *says: str, build: Edit = with_one) -> Case:
    """Folders that cannot be used."""
    return Case(f"places/{name}", (Step(refused(*says), line=line),), build, weight=2.0)


def _file(name: str) -> Edit:
    def build(place: Place) -> None:
        with_one(place)
        (place.root / name).write_text("in the way")

    return build


def _made(
    line: str, *ends: Ending, name: str, build: Edit = with_one, within: bool = False
) -> Case:
    step = Step(ends or ALONE, line=line, touches_input=within)
    return Case(f"places/{name}", (step,), build)


def _links(place: Place) -> None:
    with_one(place)
    home = place.root / "home"
    place.input.rename(home / "in")
    os.symlink(home / "in", place.input)
    for name in ("out", "work"):
        (home / name).mkdir()
        os.symlink(home / name, place.root / name)


def _annexed(place: Place) -> None:
    """Every image is a link into a folder of contents, as DataLad has them."""
    with_one(place)
    for number, path in enumerate(sorted(place.input.rglob("*.nii.gz"))):
        content = place.input / f".git/annex/objects/{number}/SHA256E-{number}.nii.gz"
        content.parent.mkdir(parents=True)
        path.rename(content)
        content.chmod(0o444)
        os.symlink(os.path.relpath(content, path.parent), path)


def _read_only(place: Place) -> None:
    with_one(place)
    for path in [place.input, *place.input.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)


ODD_NAMES = (b"a \xff.txt", b"two\nlines.txt", b"n" * 255, b"%s {x} [y].json", b"~$a.tsv")


def _odd_names(place: Place) -> None:
    """Files of all names beside what is looked for."""
    with_one(place)
    for folder in (".", "sub-01", "sub-01/dwi", "code"):
        root = place.input / folder
        root.mkdir(exist_ok=True)
        for name in (
            b"notes \xff.txt",
            b"two\nlines.txt",
            b"n" * 255,
            b"%s {x} [y].json",
            b"~$a.tsv",
        ):
            with open(os.path.join(os.fsencode(root), name), "wb") as file:
                file.write(b"{}\n")
    (place.input / "sub-01/dwi/.sub-01_dwi.nii.gz.aBcD").write_bytes(b"half a copy")
    (place.input / "sub-01/dwi/._sub-01_dwi.nii.gz").write_bytes(b"of a Mac")


def _loop(place: Place) -> None:
    with_one(place)
    os.symlink("../sub-01", place.input / "sub-01/again")
    os.symlink("out", place.root / "out")


def _cases() -> Iterator[Case]:
    for name, folder in NAMES.items():
        yield renamed(name, folder)
    yield renamed("umlauts-in-the-C-locale", "dätä", "LC_ALL=C PYTHONUTF8=0")
    latin = refused("no UTF-8", "rename")
    bytes_ = LINE.replace(" out ", " $'d\\xe4t\\xe4' ")
    yield _made(bytes_, *latin, name="bytes-that-are-no-utf-8")
    yield _made(LINE, name="odd-names-beside", build=_odd_names)
    deep = "/".join(["d" * 100] * 12)
    yield _made(LINE.replace(" out ", f" out/{deep} "), Ends((0,)), name="deep")
    yield refuses("too-deep", LINE.replace(" out ", f" {deep}/{deep}/{deep}/{deep} "), "long")
    yield _made(LINE, name="links", build=_links)
    yield _made(LINE, name="annex", build=_annexed)
    yield _made(LINE, name="read-only-input", build=_read_only)
    yield refuses("out-links-to-itself", LINE, "out.*(circle|folder)", build=_loop)
    yield refuses("input-missing", LINE.replace(" in ", " nothing "), "nothing")
    yield refuses("input-is-a-file", LINE.replace(" in ", " in/README "), "README")
    yield refuses("input-is-a-participant", LINE.replace(" in ", " in/sub-01 "), "sub-01")
    yield refuses("out-is-a-file", LINE, "out: is a file", build=_file("out"))
    yield refuses("work-is-a-file", LINE, "work: is a file", build=_file("work"))
    yield refuses("out-in-input", LINE.replace(" out ", " in/out "), "inside the input")
    yield refuses("out-is-input", LINE.replace(" out ", " in "), "inside the input")
    yield refuses("work-in-input", LINE.replace("-w work", "-w in/work"), "inside the input")
    yield refuses("out-in-proc", LINE.replace(" out ", " /proc/out "), "/proc/out")
    yield refuses("work-is-a-device", LINE.replace("-w work", "-w /dev/null"), "/dev/null")
    yield _made(
        LINE.replace(" out ", " in/derivatives/dmri7t "),
        Ends((0,)),
        name="out-in-derivatives",
        within=True,
    )
    both = right(identical(build=with_one, besides="^work/"), labels=("01",))
    yield _made(LINE.replace("-w work", "-w out/work"), *both, name="work-in-out")
    yield _made(LINE.replace("-w work", "-w out"), Ends((0, 2)), name="work-is-out")
    dry = f"{LINE} --dry-run"
    yield _made(dry, Ends((0,), (nothing_written,)), name="dry-run-writes-nothing")


CASES: tuple[Case, ...] = tuple(_cases())
