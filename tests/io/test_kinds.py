"""A kind of input is one file and one line: one that is made up here meets all that asks kinds."""

from __future__ import annotations

import ast
from pathlib import Path

import attrs
import pytest

from dmri7t.cli.app import main
from dmri7t.cli.parser import build_parser
from dmri7t.errors import InputError
from dmri7t.io.anatomy import Program
from dmri7t.io.checks import check_scan
from dmri7t.io.kinds.base import Kind
from dmri7t.io.kinds.registry import KINDS, UNKNOWN, kind_named, recognise
from dmri7t.io.scan import Candidate, Scan
from dmri7t.io.search import Query
from dmri7t.io.source import open_dataset, open_source
from dmri7t.models.bundle import model_checksum
from dmri7t.reports.sentences import corrections
from dmri7t.settings import Settings
from niflow.dmri7t import plan_scan

ROOT = Path(__file__).parents[2]


class Clinic(Kind):
    """A folder a patient, ``<number>/dti.nii.gz``, smoothed by a console."""

    name = "clinic"
    input_type = "clinic"
    title = "the clinic's archive"
    layout = "<patient>/dti.nii.gz"
    link = "archive"
    resampled_by = "the clinic's console"
    program = Program("clinic", "the clinic", (1, 2, 3), "which replaces raw scans")
    remark = "of the clinic: its console corrected motion."
    methods = "The scan had been corrected on the clinic's console."
    heading = "It was corrected at the clinic"
    caveat = "Nobody knows how."

    def recognises(self, root: Path) -> bool:
        return bool(self.folders(root))

    def check(self, root: Path, strict: bool) -> None:
        if not self.folders(root):
            raise InputError(f"{root}: no folder {self.layout}; give the archive.")

    def folders(self, root: Path) -> dict[str, Path]:
        return {f"c{p.parent.name}": p.parent for p in sorted(root.glob("*/dti.nii.gz"))}

    def label(self, name: str) -> str:
        return f"c{name.removeprefix('c')}"

    def find(self, root: Path, query: Query) -> list[Candidate]:
        candidates = [Candidate(path, "a scout") for path in sorted(root.glob("*/scout.nii.gz"))]
        for label in query.participants:
            folder = self.folders(root)[label]
            dwi = folder / "dti.nii.gz"
            scan = Scan(
                dwi=dwi,
                bval=folder / "b.txt",
                bvec=folder / "g.txt",
                sidecar={},
                entities={"sub": label},
                uri=f"bids:{self.link}:{dwi.relative_to(root)}",
                kind=self.name,
            )
            reason = query.why_unweighted(scan.bval)
            candidates.append(Candidate(dwi, reason, None if reason else scan))
        return candidates


@pytest.fixture
def clinic(monkeypatch) -> Kind:
    kind = Clinic()
    monkeypatch.setitem(KINDS, kind.name, kind)
    return kind


@pytest.fixture
def archive(tmp_path, make_scan) -> Path:
    root = tmp_path / "archive"
    for number in ("12", "31"):
        scan = make_scan(tmp_path / number, label=number)
        (root / number).mkdir(parents=True)
        for old, new in ((scan.dwi, "dti.nii.gz"), (scan.bval, "b.txt"), (scan.bvec, "g.txt")):
            old.rename(root / number / new)
    (root / "31" / "scout.nii.gz").touch()
    return root


def test_it_is_recognised_searched_and_planned(clinic, archive, tiny_model):
    assert recognise(archive) is clinic
    source = open_source(archive)
    assert source.describe() == "the clinic's archive" and source.labels == ["c12", "c31"]
    candidates = source.find(Query(["c31"]))
    assert {source.relative_name(c.path): c.reason for c in candidates} == {
        "31/dti.nii.gz": "",
        "31/scout.nii.gz": "a scout",
    }
    (scan,) = (c.scan for c in candidates if c.taken)
    check_scan(scan)
    _, link, name = scan.uri.split(":")
    assert source.links[link] / name == scan.dwi
    assert open_dataset(archive).scans("c31") == [scan]
    settings = Settings(str(tiny_model), "tiny", "0", model_checksum(tiny_model), 2, 1)
    assert plan_scan(scan, settings).scan is scan
    with pytest.raises(InputError, match="comes from the clinic's console, which resampled it"):
        plan_scan(scan, attrs.evolve(settings, denoise=True))


def test_what_it_is_not_is_refused_in_its_words(clinic, tmp_path):
    (tmp_path / "notes").mkdir()
    with pytest.raises(InputError, match="no folder <patient>/dti.nii.gz; give the archive"):
        open_source(tmp_path, "clinic")
    with pytest.raises(InputError, match=r"sub-<label> or .* or <patient>/dti.nii.gz"):
        open_dataset(tmp_path)


def test_the_command_lists_it_and_asks_no_validator(clinic, archive, tiny_model, tmp_path, capsys):
    words = [str(archive), str(tmp_path / "out"), "participant", "--model", str(tiny_model)]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--dry-run", "--input-type", "clinic", "--participant-label", "31"])
    said = capsys.readouterr().out
    assert stopped.value.code == 0, said
    for line in (
        "Input: the clinic's archive",
        "BIDS validator: not run: the input is not raw",
        "  taken    31/dti.nii.gz: a diffusion series",
        "  skipped  31/scout.nii.gz: a scout",
        "  1 scan is of the clinic: its console corrected motion.",
        "  sub-c31: 2 b0, b1000 (16 directions)",
    ):
        assert line in said
    assert "sub-c12" not in said


def test_methods_and_report_speak_in_its_words(clinic, archive, tiny_model, tmp_path, make_report):
    words = [str(archive), str(tmp_path / "out"), "participant", "--model", str(tiny_model)]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--boilerplate-only", "--device", "cpu"])
    assert stopped.value.code == 0
    (methods,) = (tmp_path / "out" / "logs").glob("*.md")
    assert clinic.methods in methods.read_text()
    assert corrections(make_report("clinic", "clinic", "")) == [
        (clinic.heading, clinic.caveat, "sub-0, sub-1"),
        (UNKNOWN.heading, UNKNOWN.caveat, "sub-2"),
    ]


@pytest.fixture
def make_report():
    """Reports of scans, as far as the sentence on corrections reads them."""
    from types import SimpleNamespace

    def make(*kinds: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(kind=kind, stem=f"sub-{i}") for i, kind in enumerate(kinds)]

    return make


def test_it_may_lie_beside_raw_data(clinic, archive, tmp_path):
    args = build_parser().parse_args(
        ["a", "b", "participant", "--derivatives", f"clinic={archive}"]
    )
    raw = tmp_path / "raw"
    (raw / "sub-c12").mkdir(parents=True)
    source = open_source(raw, "bids", dict(args.derivatives), strict=False)
    assert source.describe() == "raw BIDS data, with the clinic's results"
    (scan,) = source.scans("c12")
    assert scan.dwi == archive / "12/dti.nii.gz"
    with pytest.raises(InputError, match="clinic=PATH goes with raw data, and this is the clinic"):
        open_source(archive, "auto", {"clinic": archive}, strict=False)


def test_a_scan_of_no_kind_has_words_too():
    assert kind_named("") is kind_named("nobody's") is UNKNOWN
    assert UNKNOWN.methods.startswith("No correction for motion")
    UNKNOWN.check_unsampled(Path("x.nii"))


def test_nothing_outside_asks_for_the_name_of_a_kind():
    sources = [*ROOT.glob("dmri7t/**/*.py"), *ROOT.glob("workflows/niflow/**/*.py")]
    assert len(sources) > 100
    for path in (p for p in sources if p.parent.name != "kinds"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                kinds = [s for s in sides if ast.unparse(s).split(".")[-1] in ("kind", "kind_name")]
                named = {n.value for s in sides for n in ast.walk(s) if isinstance(n, ast.Constant)}
                assert not (kinds and named & KINDS.keys()), f"{path}:{node.lineno}"
