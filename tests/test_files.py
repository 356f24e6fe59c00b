"""Files that appear whole or not at all, whatever happens while they are written."""

import os
import socket
import subprocess
import sys
import time

import pytest

from dmri7t import files
from dmri7t.files import (
    CLOCK_SECONDS,
    LARGE,
    content_hash,
    file_sha256,
    is_part,
    large_hashes,
    learn_hashes,
    place_file,
    remove_stale_parts,
    scratch_folder,
    whole_file,
    write_whole,
)


def test_part_of_a_killed_process_is_removed_and_nothing_else(tmp_path):
    host = socket.gethostname()
    dead = subprocess.Popen(["true"])
    dead.wait()
    # exited, and waited for by nobody yet
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    younger = subprocess.Popen(["sleep", "60"])
    stale = [
        f".part-{host}.{dead.pid}-a.nii.gz",
        ".part-elsewhere.7-a.nii.gz",
        f".part-{host}.{zombie.pid}-a.nii.gz",
        f".part-{host}.{younger.pid}-a.nii.gz",  # its writer's number was given out again
    ]
    kept = [
        f".part-{host}.{os.getppid()}-a.nii.gz",  # being written, by another process
        ".part-elsewhere.8-a.nii.gz",  # perhaps being written, on another machine
        f".part-{host}.{dead.pid}-b.nii.gz",  # of another file
    ]
    for name in stale + kept:
        assert is_part(tmp_path / name)
        (tmp_path / name).write_bytes(b"half")
    before = time.time() - 2 * CLOCK_SECONDS
    os.utime(tmp_path / stale[1], (0, 0))
    os.utime(tmp_path / stale[3], (before, before))
    write_whole(tmp_path / "a.nii.gz", b"whole")
    assert {p.name for p in tmp_path.iterdir()} == {"a.nii.gz", *kept}
    # below a folder, whatever file they are of
    remove_stale_parts(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"a.nii.gz", *kept[:2]}
    remove_stale_parts(tmp_path / "missing")
    zombie.wait()
    younger.kill()
    younger.wait()


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_failure_leaves_the_file_that_was_there(tmp_path, error):
    path = tmp_path / "new" / "a.txt"
    write_whole(path, "before")
    with pytest.raises(type(error)), whole_file(path) as part:
        part.write_text("half")
        raise error
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"] and path.read_text() == "before"


def test_data_are_on_disk_before_the_name_is_given(tmp_path, monkeypatch):
    """A file server tells of a full disk no sooner than the data are sent."""

    def full(descriptor):
        assert os.fstat(descriptor).st_size == 4
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "a.txt", "half")
    assert not list(tmp_path.iterdir())


def test_others_may_read_a_file_as_any_new_one(tmp_path):
    old = os.umask(0o027)
    try:
        write_whole(tmp_path / "a.txt", "")
    finally:
        os.umask(old)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_a_file_is_placed_without_a_copy_where_nobody_can_tell(tmp_path):
    source, placed = tmp_path / "work.txt", tmp_path / "out/a.txt"
    write_whole(source, "whole")
    write_whole(placed, "before")
    place_file(source, placed)
    assert placed.read_text() == "whole" and placed.samefile(source)
    assert [p.name for p in placed.parent.iterdir()] == ["a.txt"]


def test_a_file_that_was_placed_need_not_be_read_for_its_hash(tmp_path, monkeypatch):
    source, placed = tmp_path / "work.txt", tmp_path / "a.txt"
    write_whole(source, "whole")
    digest = content_hash(source)
    place_file(source, placed)
    monkeypatch.setattr(files, "file_sha256", lambda path: "read")
    assert content_hash(placed) == digest
    placed.unlink()
    write_whole(placed, "other")
    assert content_hash(placed) == "read"


@pytest.mark.parametrize("hinder", ["permissions", "no links"])
def test_a_file_is_placed_as_any_new_one(tmp_path, monkeypatch, hinder):
    """A folder of a group's may give its files other permissions than the work folder does."""
    source, placed = tmp_path / "work.txt", tmp_path / "a.txt"
    write_whole(source, "whole")
    usual = source.stat().st_mode
    if hinder == "permissions":
        source.chmod(0o600)
    else:

        def refuse(*_):
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(os, "link", refuse)
    place_file(source, placed)
    assert placed.read_text() == "whole" and not placed.samefile(source)
    assert placed.stat().st_mode == usual and len(list(tmp_path.iterdir())) == 2


def test_processes_that_write_the_same_file_do_not_meet(tmp_path):
    """Several write at once; what is read in between and afterwards is one of their files."""
    code = "import sys; from dmri7t.files import write_whole as w\n" + (
        "for _ in range(40): w(sys.argv[1], sys.argv[2] * 100_000)"
    )
    path = tmp_path / "a.txt"
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), letter]) for letter in "abc"
    ]
    while any(w.poll() is None for w in writers):
        if path.exists():
            text = path.read_text()
            assert len(text) == 100_000 and len(set(text)) == 1
    assert [w.returncode for w in writers] == [0, 0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_part_that_has_just_got_its_final_name_is_nobodys_to_remove(tmp_path, monkeypatch):
    """The same writer may make its next part, of the same name, before it would be removed."""
    part = tmp_path / f".part-{socket.gethostname()}.{os.getppid()}-a.txt"
    part.write_text("first")
    stat = type(part).stat

    def renamed_and_made_anew(path, **options):
        if path != part:
            return stat(path, **options)
        part.rename(tmp_path / "a.txt")
        try:
            return stat(path, **options)
        finally:
            part.write_text("second")

    monkeypatch.setattr(type(part), "stat", renamed_and_made_anew)
    write_whole(tmp_path / "a.txt", "mine")
    assert part.read_text() == "second"


def test_scratch_folder_is_gone_after_an_error(tmp_path):
    with pytest.raises(ValueError, match="trouble"), scratch_folder(tmp_path) as folder:
        (folder / "a").write_text("")
        raise ValueError("trouble")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_names_the_file_that_did_not_fit(tmp_path):
    """``/dev/full`` takes nothing."""
    with (
        pytest.raises(OSError, match="No space left") as caught,
        whole_file(tmp_path / "a") as part,
    ):
        part.symlink_to("/dev/full")
        with open(part, "wb", buffering=0) as file:
            file.write(b"x")
    assert caught.value.filename == str(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_long_names_have_parts_that_fit(tmp_path):
    name = "x" * 246 + ".nii.gz"
    with whole_file(tmp_path / name) as part:
        assert len(part.name) < 255 and part.name.endswith(".nii.gz")
        part.write_text("content")
    assert (tmp_path / name).read_text() == "content"


def test_hashes_of_large_files_are_handed_over_until_the_file_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_hashes", {})
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"a")
    large.write_bytes(bytes(LARGE))
    true = {path: content_hash(path) for path in (small, large)}
    (state,) = large_hashes()
    assert state[0] == str(large) and large_hashes()[state] == true[large]
    # another process does not read the file, whatever it is told
    monkeypatch.setattr(files, "_hashes", {})
    learn_hashes({state: "told"})
    assert content_hash(large) == "told" and content_hash(small) == true[small]
    large.write_bytes(bytes(LARGE + 1))
    assert content_hash(large) == file_sha256(large) != true[large]


def test_no_more_hashes_are_kept_than_a_run_needs(monkeypatch):
    monkeypatch.setattr(files, "_hashes", {})
    learn_hashes({(str(n), LARGE, 0, n): "" for n in range(files.MOST_HASHES + 5)})
    assert len(large_hashes()) == files.MOST_HASHES
    assert ("4", LARGE, 0, 4) not in large_hashes() and ("5", LARGE, 0, 5) in large_hashes()
