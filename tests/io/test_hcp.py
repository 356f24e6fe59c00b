"""HCP's folders and its table of participants."""

import pytest

from dmri7t.errors import InputError
from dmri7t.io.families import read_families
from dmri7t.io.kinds.hcp import FILES, FOLDERS, KIND
from dmri7t.io.source import open_dataset, open_source


@pytest.fixture
def root(tmp_path):
    for label, fields in (("100307", ("3T", "7T")), ("100408", ("3T",))):
        for field in fields:
            folder = tmp_path / label / FOLDERS[field]
            folder.mkdir(parents=True)
            for name in FILES.values():
                (folder / name).touch()
    (tmp_path / "notes").mkdir()
    return tmp_path


def test_subjects_are_folders_with_a_diffusion_scan(root):
    assert open_dataset(root).kind is KIND and open_dataset(root).labels == ["100307", "100408"]
    assert not KIND.recognises(root / "notes")
    with pytest.raises(InputError, match="these are not HCP's"):
        open_source(root / "notes", "hcp")
    with pytest.raises(InputError, match="no participant's folder"):
        open_dataset(root / "notes")
    with pytest.raises(InputError, match="no such folder"):
        open_dataset(root / "nowhere")


def test_a_name_with_more_than_a_label_may_have(root):
    (root / "100408").rename(root / "HCA100408_V1_MR")
    source = open_dataset(root)
    assert source.folders["HCA100408V1MR"] == root / "HCA100408_V1_MR"
    (scan,) = source.by_session("HCA100408V1MR").values()
    assert scan.uri.startswith("bids:raw:HCA100408_V1_MR/") and scan.stem.startswith("sub-HCA1004")


def test_two_folders_of_one_label_are_named(root):
    (root / "100408").rename(root / "100_307")
    with pytest.raises(InputError, match="100_307: .* those of 100307 .*rename one"):
        open_source(root)


def test_both_fields_of_a_subject(root):
    scans = open_dataset(root).by_session("100307")
    assert list(scans) == ["3T", "7T"]
    seven = scans["7T"]
    assert seven.dwi == root / "100307/T1w/Diffusion_7T/data.nii.gz"
    assert seven.mask.name == "nodif_brain_mask.nii.gz"
    assert seven.entities == {"sub": "100307", "ses": "7T"}
    assert seven.uri == "bids:raw:100307/T1w/Diffusion_7T/data.nii.gz"
    assert list(open_dataset(root).by_session("100408")) == ["3T"]


def test_a_missing_file_is_named(root):
    (root / "100408/T1w/Diffusion/bvecs").unlink()
    with pytest.raises(InputError, match="100408/T1w/Diffusion/bvecs: missing"):
        open_dataset(root).by_session("100408")


@pytest.mark.parametrize(
    "text",
    [
        "Subject,Age,Family_ID\n100307,26-30,51488_81\n100408,31-35,51730_81\n",
        "\ufeffparticipant_id\tfamily_id\nsub-100307\t51488_81\nsub-100408\t51730_81\n",
        'SUBJECT,"family_ID"\n"100307", 51488_81\n100408,51730_81\n100610,\n\n',
    ],
)
def test_families(tmp_path, text):
    table = tmp_path / "participants.csv"
    table.write_text(text, encoding="utf-8")
    assert read_families(table) == {"100307": "51488_81", "100408": "51730_81"}


def test_families_are_known_by_the_labels_of_folders(tmp_path):
    table = tmp_path / "participants.csv"
    table.write_text("Subject,Family_ID\nHCA6002236_V1_MR,7\n")
    assert read_families(table) == {KIND.label("HCA6002236_V1_MR"): "7"}


def test_a_table_without_families(tmp_path):
    table = tmp_path / "participants.csv"
    table.write_text("Subject,Gender\n100307,F\n")
    with pytest.raises(InputError, match="participants.csv: needs the columns.*Subject, Gender"):
        read_families(table)
    table.write_text("")
    with pytest.raises(InputError, match="and has none"):
        read_families(table)
    with pytest.raises(InputError, match="nowhere.csv: is missing"):
        read_families(tmp_path / "nowhere.csv")
