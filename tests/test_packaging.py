"""What is in the wheel, and whether its requirements are pinned."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from dmri7t import __version__

ROOT = Path(__file__).parent.parent
MEGABYTE = 1e6


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Folder of sdist and wheel, built by the installed backend: no network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel"]
    subprocess.run([*command, "-d", str(folder)], cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    (path,) = built.glob(f"dmri7t-{__version__}-*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def fresh(built: Path, tmp_path_factory) -> Path:
    """Programs of an environment into which the wheel is installed, beside what this one has."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    bin_dir = folder / "bin"
    (path,) = built.glob("*.whl")
    command = [bin_dir / "python", "-m", "pip", "install", "-q", "--no-deps", "--no-index", path]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": ""})
    # requirements alone: what dmri7t's own name finds must be the wheel
    site = folder / "lib" / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix + "/lib")
    (site / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return bin_dir


def ask(program: Path, *words: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [str(program), *words]
    return subprocess.run(command, capture_output=True, text=True, env=clean, cwd="/", timeout=120)


@pytest.mark.parametrize("command", ["dmri7t", "dmri7t-model"])
def test_commands_of_the_wheel(fresh: Path, command: str) -> None:
    assert ask(fresh / command, "--version").stdout == f"dmri7t {__version__}\n"
    told = ask(fresh / command, "--help")
    assert told.returncode == 0 and f"{command} " in told.stdout, told.stderr
    assert ask(fresh / command, "--nonsense").returncode == 2


def test_packages_of_the_wheel_are_those_that_are_imported(fresh: Path) -> None:
    probe = "import dmri7t, niflow.dmri7t; print(dmri7t.__file__); print(niflow.dmri7t.__file__)"
    done = ask(fresh / "python", "-c", probe)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(fresh.parent)) for line in done.stdout.splitlines())


def test_model_of_the_wheel_is_whole(fresh: Path) -> None:
    done = ask(fresh / "dmri7t-model", "info", "default")
    assert done.returncode == 0 and str(fresh.parent) in done.stdout, done.stderr


def test_metadata(wheel: zipfile.ZipFile) -> None:
    metadata = email.message_from_bytes(wheel.read(f"dmri7t-{__version__}.dist-info/METADATA"))
    assert metadata["Author"] == "The dmri7t developers"
    assert any(
        url.startswith("Paper, https://arxiv.org/") for url in metadata.get_all("Project-URL")
    )
    assert {"bids", "test", "docs"} <= set(metadata.get_all("Provides-Extra"))
    assert "dmri7t/py.typed" in wheel.namelist()


def test_sdist_has_what_the_wheel_is_built_from(built: Path, wheel: zipfile.ZipFile) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        inside = {name.partition("/")[2].removeprefix("workflows/") for name in sdist.getnames()}
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed <= inside
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", "constraints.txt"} <= inside
    assert {"bids_examples/make.py", "tests/conftest.py", "docs/conf.py"} <= inside


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
    } - {"dmri7t"}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    assert wanted <= {canonicalize_name(pin.name) for pin in pins}


def test_versions_agree() -> None:
    import yaml

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    for recipe in ("Dockerfile", "apptainer.def"):
        label = re.search(
            r"org\.opencontainers\.image\.version[ =]\"?([\w.]+)", (ROOT / recipe).read_text()
        )
        assert label and label[1] == __version__, recipe
        assert f"=dmri7t:{__version__}\n" in (ROOT / recipe).read_text(), recipe
    assert f"## {__version__}" in (ROOT / "CHANGES.md").read_text()


@pytest.mark.parametrize("recipe", ["Dockerfile", "apptainer.def"])
def test_containers_take_what_is_there_and_start_the_command(recipe: str) -> None:
    """None is built in a test; what they copy and start is held against the tree."""
    lines = [line.strip() for line in (ROOT / recipe).read_text().splitlines()]
    if recipe == "Dockerfile":
        copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
        assert 'ENTRYPOINT ["dmri7t"]' in lines and 'CMD ["--help"]' in lines
        user = next(line for line in lines if line.startswith("USER "))
        assert user != "USER root" and any("useradd" in x and user[5:] in x for x in lines)
        ignored = (ROOT / ".dockerignore").read_text().splitlines()
        assert {line[1:] for line in ignored if line.startswith("!")} == set(copied)
        assert "*" in ignored and any("DMRI7T_IMAGE=$IMAGE" in line for line in lines)
    else:
        assert {"%labels", "%help", "%test"} <= set(lines)
        start = lines.index("%files") + 1
        copied = [line.split()[0] for line in lines[start : lines.index("", start)]]
        assert 'exec dmri7t "$@"' in lines
    assert any("install" in line and ".[bids]" in line for line in lines)
    # all that the wheel is built from
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {"pyproject.toml", "constraints.txt", project["project"]["readme"]}
    needed |= {*project["project"]["license-files"], *(p.split("/")[0] for p in packages)}
    assert set(copied) == needed and all((ROOT / name).exists() for name in copied)
    assert "dmri7t" in project["project"]["scripts"]
