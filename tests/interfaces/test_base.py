"""Hashes that every stage takes, and lists of files."""

import pytest
from nipype import config

from dmri7t.interfaces.base import content_hash
from dmri7t.interfaces.collect import Collect
from dmri7t.interfaces.prepare import DefineGrid


def test_hash_follows_content_not_place(tmp_path):
    files = [tmp_path / name for name in ("a.npy", "b.npy", "c.npy")]
    for file, content in zip(files, (b"one", b"one", b"two"), strict=True):
        file.write_bytes(content)
    hashes = [
        DefineGrid(mask=str(file), shape=[1]).inputs.get_hashval("content")[1] for file in files
    ]
    assert hashes[0] == hashes[1] != hashes[2]
    # threads are no reason to compute anew; the version of the code is
    many = DefineGrid(mask=str(files[0]), shape=[1], num_threads=7)
    assert many.inputs.get_hashval("content")[1] == hashes[0]
    newer = DefineGrid(mask=str(files[0]), shape=[1], code_version="9.9")
    assert newer.inputs.get_hashval("content")[1] != hashes[0]


def test_hash_notices_a_file_that_changed(tmp_path):
    file = tmp_path / "a.npy"
    file.write_bytes(b"one")
    first = content_hash(str(file))
    file.write_bytes(b"other")
    assert content_hash(str(file)) != first


def test_time_stamps_still_work(tmp_path):
    file = tmp_path / "a.npy"
    file.write_bytes(b"one")
    stage = DefineGrid(mask=str(file), shape=[1])
    assert stage.inputs.get_hashval("timestamp")[1] != stage.inputs.get_hashval("content")[1]
    assert config.get("execution", "hash_method")


def test_collect_keeps_order_and_misses_nothing(tmp_path):
    files = [tmp_path / name for name in "ab"]
    for file in files:
        file.write_text(file.name)
    both = Collect(2)
    both.inputs.in1, both.inputs.in2 = str(files[1]), str(files[0])
    assert both.run(cwd=tmp_path).outputs.out == [str(files[1]), str(files[0])]
    with pytest.raises(ValueError, match="in2"):
        lacking = Collect(2)
        lacking.inputs.in1 = str(files[0])
        lacking.run(cwd=tmp_path)
