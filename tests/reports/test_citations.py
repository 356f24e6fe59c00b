"""Whatever a methods text cites has a reference."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from dmri7t.reports.citations import REFERENCES, cited, unknown_citations

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "workflows" / "niflow").rglob("*.py")), ids=lambda path: path.stem
)
def test_every_citation_of_the_graph_is_known(path):
    words = [n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)]
    texts = [word for word in words if isinstance(word, str)]
    assert [name for text in texts for name in unknown_citations(text)] == []


@pytest.mark.parametrize("name", REFERENCES)
def test_entries_are_complete(name):
    reference = REFERENCES[name]
    first, year = re.fullmatch(r"(.+?)(?: et al\.| & \w+)? (\d{4})", name).groups()
    assert reference.fields["author"].startswith(first)
    assert reference.fields["year"] == year
    assert reference.fields["title"] in reference.text
    assert reference.bibtex.count("{") == reference.bibtex.count("}")
    assert {"doi", "note"} & set(reference.fields)
    assert cited(f"As in [{name}].") == [reference]
