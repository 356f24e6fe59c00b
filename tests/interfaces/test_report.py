"""The list of a scan's files that the report is drawn from."""

import shutil

import pytest

from dmri7t.interfaces.report import FILES, GatherScan, Manifest, WriteReport


@pytest.fixture
def gathered(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    inputs = {}
    for field in FILES:
        paths = [folder / f"{field}.bin"]
        if field in ("representations", "generated"):
            paths.append(folder / f"{field}2.bin")
        for path in paths:
            path.write_text(path.name)
        inputs[field] = [str(p) for p in paths] if len(paths) > 1 else str(paths[0])

    def gather():
        node = folder / "gather"
        node.mkdir(exist_ok=True)
        stage = GatherScan(
            **inputs,
            written=[inputs["mask"]],
            stem="sub-01",
            source="bids:raw:x",
            methods="m",
            workflow="dwi_wf",
            groups={"b0": [0], "b1000": [1, 2]},
        )
        return stage.run(cwd=node).outputs.manifest

    return folder, gather


def test_manifest_finds_every_file(gathered):
    folder, gather = gathered
    manifest = Manifest.read(gather())
    assert manifest.stem == "sub-01" and manifest.file("mask") == folder / "mask.bin"
    assert manifest.groups == {"b0": [0], "b1000": [1, 2]}
    assert manifest.optional("anisotropy_sd") == folder / "anisotropy_sd.bin"
    assert manifest.files["generated"] == [folder / "generated.bin", folder / "generated2.bin"]


def test_manifest_follows_content_and_not_place(gathered, tmp_path):
    folder, gather = gathered
    first = open(gather()).read()
    assert open(gather()).read() == first and str(tmp_path) not in first
    shutil.move(folder, tmp_path / "moved")
    moved = Manifest.read(tmp_path / "moved/gather/manifest.json")
    assert moved.file("quality") == tmp_path / "moved/quality.bin"
    shutil.move(tmp_path / "moved", folder)
    (folder / "b0.bin").write_text("another scan")
    assert open(gather()).read() != first


def test_page_without_one_of_its_pictures_is_written_again(tmp_path):
    stage = WriteReport(label="01", out_dir=str(tmp_path))
    assert stage.always_run
    picture = tmp_path / "sub-01/figures/sub-01_b0_before.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"x")
    viewer = picture.with_name("sub-01_viewer.html")
    viewer.write_text("x")
    name, other = picture.relative_to(tmp_path), viewer.relative_to(tmp_path)
    page = f'<a href="#x"><img src="{name}" alt=""></a><a class="button" href="{other}">'
    (tmp_path / "sub-01.html").write_text(page)
    assert not stage.always_run
    viewer.unlink()
    assert stage.always_run
    viewer.write_text("x")
    picture.unlink()
    assert stage.always_run
