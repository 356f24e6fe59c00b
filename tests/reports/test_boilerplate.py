"""The methods text of many scans."""

from dmri7t.reports.boilerplate import methods_text, write_boilerplate


def test_what_scans_share_is_said_once_and_the_rest_names_them():
    scans = [(f"sub-{n:02d}", f"Shared.\n\n{'Odd' if n % 2 else 'Even'}.") for n in range(30)]
    paragraphs = methods_text([*scans, ("sub-99", "")], {}).split("\n\n")
    assert paragraphs[0] == "Shared."
    assert paragraphs[1].startswith("(sub-00, sub-02, ") and paragraphs[1].endswith(
        "sub-14 and 7 more) Even."
    )
    assert paragraphs[2].endswith(") Odd.") and len(paragraphs) == 3


def test_files_hold_the_works_that_are_cited(tmp_path):
    files = write_boilerplate([("sub-01", "As in [Zhu et al. 2024].")], tmp_path / "logs")
    text, bib = (path.read_text() for path in files)
    assert [path.name for path in files] == ["CITATION.md", "CITATION.bib"]
    assert "1. Zhu, Xi" in text and "Zhu" in bib and "Descoteaux, Maxime; Angelino" not in text
    assert sorted(p.name for p in (tmp_path / "logs").iterdir()) == ["CITATION.bib", "CITATION.md"]
