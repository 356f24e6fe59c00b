"""A sidecar at which the BIDS validator breaks off: it is named, and all else is validated."""

from __future__ import annotations

from pathlib import Path

import pytest
from examples import make

from dmri7t.io.dataset import validate_dataset
from dmri7t.io.shadow import link_dataset, odd_sidecars


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "in"
    make.make_dataset("good/sessions", root)
    return root


def first_sidecar(root: Path) -> Path:
    return next(p for p in sorted(root.rglob("*.json")) if p.parent != root)


@pytest.mark.parametrize("content", ["null", "[" * 3000, "3", '{"EchoTime": nought}'])
def test_odd_sidecars_are_named(data, content):
    assert odd_sidecars(data) == {}
    path = first_sidecar(data)
    path.write_text(content)
    assert list(odd_sidecars(data)) == [path.relative_to(data).as_posix()]


def test_the_rest_is_linked(data, tmp_path):
    path = first_sidecar(data)
    name = path.relative_to(data).as_posix()
    (tmp_path / "links").mkdir()
    link_dataset(data, tmp_path / "links", [name])
    seen = {p.relative_to(data).as_posix() for p in data.rglob("*") if p.is_file()}
    for each in seen - {name}:
        assert (tmp_path / "links" / each).read_bytes() == (data / each).read_bytes()
    assert not (tmp_path / "links" / name).exists()


def test_the_validator_is_not_stopped(data):
    """It breaks off where a sidecar is JSON's null."""
    path = first_sidecar(data)
    path.write_text("null")
    (data / "sub-01/dwi_of_nobody.txt").write_text("what BIDS does not know")
    validation = validate_dataset(data)
    if validation.remark.startswith("not installed"):
        return  # there is nothing to stop
    name = path.relative_to(data).as_posix()
    assert name in validation.remark and "nothing is validated" not in validation.remark
    located = dict(validation.errors)
    assert "JSON_INVALID" in located[name]
    assert "sub-01/dwi_of_nobody.txt" in located
