"""Options together, and the level group: each does what it says, whatever stands beside it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import nibabel
import numpy as np

from trials.case import LINE, Case, Check, Ending, Run, Step, says
from trials.edits import brain
from trials.judge import Ends, refused, right
from trials.oracles import all_finite, identical, like, same_of, white_near
from trials.place import SCAN, Edit, Place, scan_with, with_base, with_one
from trials.tables.schemes import chosen

RUN = LINE.removeprefix("exec ")
GROUP = LINE.replace(" participant ", " group ")


def tried(name: str, words: str, *ends: Ending, build: Edit = with_one, model: str = "") -> Case:
    """A command with these options."""
    case = Case(f"choices/{name}", (Step(ends, words),), build, weight=9.0)
    return Case(case.name, case.steps, build, model, weight=16.0) if model else case


def made(*patterns: str) -> Check:
    """Results of these names lie there, each one file."""

    def check(run: Run) -> str:
        counts = {pattern: len([*run.place.out.glob(pattern)]) for pattern in patterns}
        wrong = [f"{n} files {pattern}" for pattern, n in counts.items() if n != 1]
        return ", ".join(wrong)

    return check


def voxels(*sizes: float) -> Check:
    """The result has voxels of these sizes, mm."""

    def check(run: Run) -> str:
        found = nibabel.load(run.place.result()).header.get_zooms()[:3]
        return "" if np.allclose(found, sizes, atol=1e-3) else f"voxels of {found} mm"

    return check


TWO = {**SCAN, "shells": {"1000": 16, "2000": 16}}


def _options() -> Iterator[Case]:
    fine = right(all_finite, labels=("01",))
    two = scan_with(shells=TWO["shells"])
    names = "sub-01/dwi/sub-01_space-ACPC_desc-preproc_dwi.nii.gz", "sub-01/dwi/*_dwiref.nii.gz"
    other = Ends((0,), (made(*names), says(r"interpolated only: b2000 \(not named"), says("done")))
    yield tried(
        "qsiprep-layout-and-shells", "--output-layout qsiprep --shells 1000", other, build=two
    )
    few = scan_with(shells={"1000": 6})
    yield tried("a-sample-of-six-directions", "--estimate sample", *fine, build=few)
    sample = "--estimate sample --samples 2 --sampler-steps 1 --random-seed 9223372036854775807"
    yield tried("a-sample-by-a-large-seed", sample, *fine)
    clean = "--denoise --gibbs --low-mem --tractography --resource-monitor"
    report = (made("logs/resources.tsv"), says("done"))
    near = right(white_near("FA", 0.2), white_near("MD", 0.2), *report, labels=("01",))
    yield tried("cleaned-with-little-memory", clean, *near, build=brain(), model="default")
    ablation = "--weigh-by model --upsampling bspline --consistency --energy 0.5 --no-compare"
    yield tried("the-paper-way", f"{ablation} --output-resolution native", *fine)
    sizes = "--output-resolution 4,5,3.5 --precision float32"
    yield tried(
        "voxels-of-three-sizes", sizes, *right(all_finite, voxels(4, 5, 3.5), labels=("01",))
    )
    coarse = right(all_finite, voxels(6, 6, 6), labels=("01",))
    yield tried("coarser-than-the-input", "--output-resolution 6", *coarse)
    for value in ("nan", "inf", "500", "1e-9", "1,2"):
        asked = f"--output-resolution {value}"
        yield tried(f"resolution-{value}", asked, *refused("--output-resolution|GiB"))
    left = [row for row in range(18) if row not in (3, 10, 11, 12, 17)]
    fewer = right(like(build=chosen(left, with_one)), labels=("01",))
    yield tried("volumes-left-out", "--exclude-volumes 3,10-12 last 17", *fewer)
    yield tried("all-b0s-left-out", "--exclude-volumes 0-1", *refused("no b0"))
    yield tried("too-many-left-out", "--exclude-volumes 2-12", *refused("5 different directions"))
    for name, words in {
        "commas-and-spaces": "'sub-01, 02'",
        "twice": "01 02 01,,02",
        "with-the-prefix": "sub-01 sub-02",
    }.items():
        asked = f"--participant-label {words}"
        yield tried(f"labels-{name}", asked, *right(identical()), build=with_base)
    yield tried("labels-none", "--participant-label ,", *refused("at least one label"))
    side = right(identical(), made("logs/resources.tsv"))
    both = "--nprocs 2 --resource-monitor --write-graph"
    yield tried("side-by-side", both, *side, build=with_base)
    # one participant has all processors for himself
    same = right(identical(build=brain()), labels=("01",))
    yield tried("two-processors", "--nprocs 2", *same, build=brain(), model="default")
    yield tried("a-filter", "--bids-filter-file home/f.json", *fine, build=_filtered)
    given = Ends((0,), (identical(words="--samples 2", build=with_one), says("sub-01 done")))
    yield tried("options-from-a-file", "--config-file home/o.toml", given, build=_options_file)
    index = f"{RUN} --bids-database-dir index > /dev/null && rm -r out work && "
    again = (
        f"{index}head -c 100 index/*/layout_index.sqlite > x && mv x index/*/layout_index.sqlite"
    )
    line = f"{again}; {RUN} --bids-database-dir index; code=$?; rm -r index; exit $code"
    ends = (*right(identical(build=with_one), labels=("01",)), *refused("index"))
    yield Case("choices/a-cut-index", (Step(ends, line=line),), with_one, weight=14.0)
    crash = Ends((1,), (says("sub-01 FAILED"), _all_told))
    build = _first_cut
    yield tried("stop-on-first-crash", "--stop-on-first-crash", crash, build=build)
    texts = Ends((0,), (made("logs/CITATION.md", "logs/CITATION.bib"),))
    yield tried("methods-alone", "--boilerplate-only", texts)


def _filtered(place: Place) -> None:
    with_one(place)
    (place.root / "home/f.json").write_text('{"dwi": {"run": null, "suffix": "dwi"}}')


def _options_file(place: Place) -> None:
    with_one(place)
    (place.root / "home/o.toml").write_text("\ufeffsamples = 2\nnprocs = 1\n")


def _first_cut(place: Place) -> None:
    with_base(place)
    path = place.scan()
    path.write_bytes(path.read_bytes()[:-2000])


def _all_told(run: Run) -> str:
    """The summary says of both how they ended."""
    summary = run.stdout.split("\nSummary:\n")[-1]
    missing = [label for label in ("01", "02") if f"sub-{label} " not in summary]
    return f"the summary lacks sub-{', sub-'.join(missing)}" if missing else ""


def _groups() -> Iterator[Case]:
    def group(name: str, pattern: str, content: bytes, *ends: Ending) -> Case:
        def damage(place: Place) -> None:
            for path in place.out.glob(pattern):
                path.write_bytes(content)

        second = Step(ends, line=GROUP, before=damage if pattern else None)
        return Case(f"choices/group{name}", (Step(right()), second), with_base, weight=16.0)

    table = made("group_dwi.tsv", "group_dwi.json", "group_dwi.html")
    whole = Ends((0,), (table, same_of("01"), says("2 of 2 participants")))
    yield group("", "", b"", whole)
    quality, record = "sub-01/dwi/*quality_dwi.json", "logs/sub-01_status.json"
    for name, pattern, content, said in (
        ("-quality-empty", quality, b"{}\n", r"sub-01.*quality_dwi\.json"),
        ("-quality-a-list", quality, b"[1]\n", r"sub-01.*quality_dwi\.json"),
        ("-quality-of-words", quality, b'{"snr": "high", "shells": 3}', r"quality_dwi\.json"),
        ("-record-odd", record, b'{"failures": 3}', r"sub-01_status\.json cannot be read"),
        ("-settings-broken", "sub-01/dwi/*_settings.toml", b"x = = 1\n", r"settings\.toml"),
    ):
        yield group(name, pattern, content, Ends((0, 1), (table, says(said))))
    nothing = gzip.compress(b"no image" * 100)
    fa = "sub-01/dwi/*fa_desc-7Tlike*.nii.gz"
    yield group("-map-no-image", fa, nothing, Ends((0, 1), (table, says("fa_desc-7Tlike"))))
    every = "sub-*/dwi/*quality_dwi.json"
    yield group("-all-qualities-empty", every, b"{}\n", Ends((2,), (says("quality_dwi.json"),)))


CASES: tuple[Case, ...] = (*_options(), *_groups())
