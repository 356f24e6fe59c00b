"""What is in the wheel, and whether its requirements are pinned."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from dmri7t import __version__

ROOT = Path(__file__).parent.parent
MEGABYTE = 1e6


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """Build the wheel by the installed backend: no network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob(f"dmri7t-{__version__}-*.whl")
    return zipfile.ZipFile(path)


def test_wheel_carries_what_lies_in_the_packages(wheel: zipfile.ZipFile) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "dmri7t", "workflows/niflow"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    expected = {name.removeprefix("workflows/") for name in listed if (ROOT / name).exists()}
    assert expected <= set(wheel.namelist())


@pytest.mark.parametrize(
    "pattern",
    [
        "dmri7t/reports/*.html*",
        "dmri7t/training/recipes/default.toml",
        "dmri7t/training/recipes/zhu2024.toml",
        "dmri7t/models/zoo/default/config.json",
        "dmri7t/models/zoo/default/README.md",
        "dmri7t/models/zoo/default/*.safetensors",
        "niflow/dmri7t/__init__.py",
    ],
)
def test_wheel_has(wheel: zipfile.ZipFile, pattern: str) -> None:
    folder, name = pattern.rsplit("/", 1)
    inside = [Path(n) for n in wheel.namelist() if n.startswith(folder)]
    assert any(path.match(name) for path in inside)


def test_wheel_leaves_out(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert top == {"dmri7t", "niflow", f"dmri7t-{__version__}.dist-info"}
    assert "niflow/__init__.py" not in wheel.namelist()


def test_shipped_models_are_small(wheel: zipfile.ZipFile) -> None:
    zoo = [i.file_size for i in wheel.infolist() if i.filename.startswith("dmri7t/models/zoo/")]
    assert sum(zoo) <= 25 * MEGABYTE


def test_requirements_are_pinned() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {
        canonicalize_name(Requirement(text).name)
        for text in sum(extras.values(), project["dependencies"])
    }
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    assert wanted <= {canonicalize_name(pin.name) for pin in pins}


def test_versions_agree() -> None:
    import yaml

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGES.md").read_text()


@pytest.mark.parametrize("recipe", ["Dockerfile", "apptainer.def"])
def test_containers_take_what_is_there_and_start_the_command(recipe: str) -> None:
    """None is built in a test; what they copy and start is held against the tree."""
    lines = [line.strip() for line in (ROOT / recipe).read_text().splitlines()]
    if recipe == "Dockerfile":
        copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
        assert 'ENTRYPOINT ["dmri7t"]' in lines
    else:
        start = lines.index("%files") + 1
        copied = [line.split()[0] for line in lines[start : lines.index("", start)]]
        assert 'exec dmri7t "$@"' in lines
    # all that the wheel is built from
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {"pyproject.toml", "constraints.txt", project["project"]["readme"]}
    needed |= {*project["project"]["license-files"], *(p.split("/")[0] for p in packages)}
    assert set(copied) == needed and all((ROOT / name).exists() for name in copied)
    assert "dmri7t" in project["project"]["scripts"]
