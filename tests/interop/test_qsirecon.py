"""QSIRecon finds the scan and what belongs to it.

QSIRecon is in no package index, only in its container: its own code is not run here. What is run
is the reader that it took over from QSIPrep, from QSIPrep 0.19.1, the last version before the two
were parted; and today's QSIPrep's table of names, against which ours are held. The query of
QSIRecon 1.x is stated once more, as its source has it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bids import BIDSLayout
from bids.layout import Query
from bids.layout.writing import build_path

from interop.conftest import STEM, run

READER = "0.19.1"
NAMES = "26.1.1"

READ = """
import json, sys, types
from importlib import import_module
# the packages' own __init__ files load everything they have, FSL and FreeSurfer included
for name in ("qsiprep", "qsiprep.interfaces"):
    package = types.ModuleType(name)
    package.__path__ = [sys.argv[1] + "/" + name.replace(".", "/")]
    sys.modules[name] = package
reader = import_module("qsiprep.interfaces.ingress").QsiReconIngress(dwi_file=sys.argv[2])
outputs = reader.run().outputs.get().items()
print("read:", json.dumps({name: path for name, path in outputs if isinstance(path, str)}))
"""


@pytest.fixture(scope="session")
def fetch(request):
    """Install one version of a package from the index into a folder of its own, once."""
    cache = os.environ.get("DMRI7T_INTEROP_CACHE") or request.config.cache.mkdir("interop")

    def get(*names: str) -> Path:
        folder = Path(cache) / "-".join(names)
        done = folder / "installed"
        if not done.exists():
            command = (sys.executable, "-m", "pip", "install", "-q", "--no-deps")
            got = subprocess.run(
                [*command, "--no-build-isolation", "--target", str(folder), *names],
                capture_output=True,
                text=True,
                timeout=300,
            )
            if got.returncode:
                reason = got.stderr.strip().splitlines()[-1]
                pytest.skip(f"{' '.join(names)} cannot be had from the package index: {reason}")
            done.touch()
        return folder

    return get


def test_its_reader_takes_the_scan_and_all_that_belongs_to_it(written, fetch):
    result = written["qsiprep"]
    folder = fetch(f"qsiprep=={READER}", "simplejson")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    said = run(sys.executable, "-W", "ignore", "-c", READ, folder, result.dwi, env=env)
    found = json.loads(said.split("read:")[1])
    reference = result.mask.name.replace("desc-brain_mask", "dwiref")
    wanted = {
        "dwi_file": result.dwi,
        "bval_file": result.beside(".bval"),
        "bvec_file": result.beside(".bvec"),
        "b_file": result.beside(".b"),
        "mask_file": result.mask,
        "dwi_ref": result.mask.with_name(reference),
    }
    assert {k: found[k] for k in wanted} == {k: str(v) for k, v in wanted.items()}
    entities = dict(part.split("-") for part in STEM.split("_")) | {"space": "ACPC"}
    named = {"sub": "subject_id", "ses": "session_id"}
    for key, value in entities.items():
        assert found[named.get(key, f"{key}_id")] == f"{key}-{value}"
    # what QSIPrep measures of its own work, dmri7t does not pretend to have
    assert not {"confounds_file", "qc_file", "slice_qc_file"} & set(found)


def test_names_are_those_that_todays_qsiprep_gives(written, fetch):
    result = written["qsiprep"]
    table = fetch(f"qsiprep=={NAMES}") / "qsiprep/data/io_spec.json"
    patterns = json.loads(table.read_text())["default_path_patterns"]
    scan = {"subject": "01", "session": "a", "acquisition": "hi", "direction": "AP", "run": "01"}
    scan |= {"space": "ACPC", "datatype": "dwi"}

    def name(**more: str) -> Path:
        return result.root / build_path({**scan, **more}, patterns, strict=True)

    for ending in ("nii.gz", "bval", "bvec", "b", "json"):
        assert name(desc="preproc", suffix="dwi", extension=ending).is_file()
    assert name(desc="preproc", suffix="dwi", extension="nii.gz") == result.dwi
    assert name(desc="brain", suffix="mask", extension="nii.gz") == result.mask
    # with desc-preproc, as QSIPrep 26 names it, versions of QSIRecon before that would not find it
    assert name(suffix="dwiref", extension="nii.gz").is_file()


def test_query_of_its_source_finds_the_scan_and_nothing_else(written, tmp_path):
    for name, result in written.items():
        layout = BIDSLayout(result.root, validate=False, config=["bids", "derivatives"])
        assert layout.get_subjects() == ["01"]
        found = layout.get(
            suffix="dwi",
            session=Query.OPTIONAL,
            space=["T1w", "ACPC"],
            extension=["nii", "nii.gz"],
            return_type="file",
        )
        # our own layout has no space for a raw scan, and so nothing for QSIRecon
        assert found == ([str(result.dwi)] if name == "qsiprep" else [])
        described = json.loads((result.root / "dataset_description.json").read_text())
        assert described["DatasetType"] == "derivative"
