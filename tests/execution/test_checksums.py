"""Results that were damaged after a run are found by the next one, and made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nipype import Node
from nipype.interfaces.utility import Function

from dmri7t.execution.checksums import RECORD, find_damaged, keep_checksums
from dmri7t.execution.result import is_whole


def write_files(folder):
    """Write two files, one of them outside of the node's folder."""
    import os

    inside, outside = os.path.abspath("inside.npy"), os.path.join(folder, "out.nii.gz")
    for path in (inside, outside):
        with open(path, "w") as file:
            file.write("what was written")
    return inside, [outside]


@pytest.fixture
def node(tmp_path):
    function = Function(["folder"], ["inside", "outside"], write_files)
    made = Node(function, "writer", base_dir=str(tmp_path / "work"))
    made.inputs.folder = str(tmp_path)
    made.run()
    keep_checksums(made)
    return made


def truncate(path):
    path.write_text("what was")


def zero(path):
    path.write_bytes(bytes(len(path.read_bytes())))


def swap(path):
    path.write_text("what was writtem")


@pytest.mark.parametrize("damage", [truncate, zero, swap, Path.unlink])
@pytest.mark.parametrize("name", ["out.nii.gz", "work/writer/inside.npy"])
def test_damage_is_found(node, tmp_path, damage, name):
    assert is_whole(node)
    damage(tmp_path / name)
    assert find_damaged(node) == str(tmp_path / name)
    assert not is_whole(node)


def test_the_same_content_written_again_is_whole(node, tmp_path):
    content = (tmp_path / "out.nii.gz").read_bytes()
    (tmp_path / "out.nii.gz").unlink()
    (tmp_path / "out.nii.gz").write_bytes(content)
    assert is_whole(node)


@pytest.mark.parametrize("content", ["{", "[]", '[["inside.npy", 16, "x"]]'])
def test_a_damaged_record_is_no_proof(node, content):
    Path(node.output_dir(), RECORD).write_text(content)
    assert not is_whole(node)


def test_without_a_record_files_must_be_there_and_are_recorded(node, tmp_path):
    record = Path(node.output_dir(), RECORD)
    record.unlink()
    assert is_whole(node) and len(json.loads(record.read_text())) == 2
    truncate(tmp_path / "out.nii.gz")
    assert not is_whole(node)


def test_a_result_that_cannot_be_read_is_not_whole(node):
    (result,) = Path(node.output_dir()).glob("result_*.pklz")
    result.write_bytes(result.read_bytes()[:50])
    node._result = None
    assert not is_whole(node)
