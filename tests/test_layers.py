"""The house: who may import whom, what is loaded only when needed, what lies at the top."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

RESTS_ON = {
    "signal": set(),
    "io": {"signal"},
    "models": {"signal"},
    "simulation": {"signal", "io"},  # io: it writes data sets
    "reports": {"signal", "io"},
    "execution": {"signal"},
    "training": {"models", "simulation", "io"},
    "evaluation": {"training", "models", "simulation", "io"},
    "calibration": {"evaluation"},
    "interfaces": {"models", "io", "reports", "settings"},
    "niflow": {"interfaces", "settings"},
    "cli": {"niflow", "training", "calibration", "evaluation", "reports", "execution", "settings"},
}
"""What a package stands on; it may import that and what that stands on in turn."""

FOR_ALL = {"errors", "files", "progress", "settings", ""}
"""Modules on the ground: errors, whole files, progress, the settings' record, the version."""

LIGHT = ("cli", "niflow", "interfaces", "execution", "reports", "settings")
"""Packages that the driver process loads, which must never load torch."""

HEAVY = {"torch", "monai", "lightning", "pytorch_lightning"}

LOADS_TORCH = ("signal", "models", "simulation", "training", "calibration", "evaluation")
"""Packages whose modules may import torch."""

TORCH_FREE = {
    "signal": {"extent", "gradients", "grids", "orders", "spaces"},
    "models": {"bundle", "config", "fitted", "networks", "plain"},
}
"""The modules of these packages that load no torch."""

TOP_LEVEL = {"dmri7t", "workflows", "bids_examples", "tests", "docs", ".ci"}


def below(package: str) -> set[str]:
    """Everything that a package may import."""
    direct = RESTS_ON.get(package, set())
    return direct.union(*(below(p) for p in direct))


def sources() -> list[Path]:
    return sorted([*ROOT.glob("dmri7t/**/*.py"), *ROOT.glob("workflows/niflow/**/*.py")])


def package_of(path: Path) -> str:
    """Name of the package that a source file belongs to."""
    parts = path.relative_to(ROOT).parts
    if parts[0] == "workflows":
        return "niflow"
    return parts[1].removesuffix(".py").replace("__init__", "")


def package_of_module(module: str) -> str | None:
    """Name of the package of ours that a dotted name belongs to; None for others' modules."""
    parts = module.split(".")
    if parts[0] == "niflow":
        return "niflow"
    if parts[0] == "dmri7t":
        return parts[1] if len(parts) > 1 else ""
    return None


def imports(nodes: Iterator[ast.AST], path: Path) -> Iterator[tuple[str, int]]:
    """Dotted names that are imported, with their line."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.module, node.lineno
            if package_of_module(node.module) == "" or node.module == "niflow":
                # from dmri7t import signal: a package by another road
                names = {alias.name for alias in node.names} & RESTS_ON.keys()
                yield from ((f"dmri7t.{name}", node.lineno) for name in names)


def at_module_level(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported; not those for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from at_module_level(node)


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    package = package_of(path)
    assert package in RESTS_ON or package in FOR_ALL, f"{path}: a package without a place"
    allowed = below(package) | FOR_ALL | {package}
    for module, line in imports(ast.walk(ast.parse(path.read_text())), path):
        found = package_of_module(module)
        assert found is None or found in allowed, f"{path}:{line}: {package} imports {module}"


def module_file(module: str) -> Path | None:
    """Source file of a module of ours; None where there is none."""
    base = ROOT / ("workflows" if module.startswith("niflow") else "") / module.replace(".", "/")
    files = (base.with_suffix(".py"), base / "__init__.py")
    return next((f for f in files if f.exists()), None)


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_find_something(path: Path) -> None:
    """Imports within functions too, which no test may ever reach."""
    for module, line in imports(ast.walk(ast.parse(path.read_text())), path):
        if package_of_module(module) is not None and module != "niflow":
            assert module_file(module), f"{path}:{line}: there is no module {module}"


@pytest.mark.parametrize(
    "path", [p for p in sources() if package_of(p) in LIGHT], ids=lambda p: str(p.relative_to(ROOT))
)
def test_driver_modules_load_no_torch(path: Path) -> None:
    for module, line in imports(at_module_level(ast.parse(path.read_text())), path):
        assert module.split(".")[0] not in HEAVY, f"{path}:{line}: {module} at module level"
        if package_of_module(module) in (
            "signal",
            "models",
            "training",
            "evaluation",
            "calibration",
        ):
            package, name = package_of_module(module), module.split(".")[-1]
            free = name in TORCH_FREE.get(package, ())
            assert free, f"{path}:{line}: {module} at module level, which may load torch"


@pytest.mark.parametrize("layer", ["signal", "models"])
def test_mathematics_knows_no_pipeline(layer: str) -> None:
    for path in (p for p in sources() if package_of(p) == layer):
        for module, line in imports(ast.walk(ast.parse(path.read_text())), path):
            assert module.split(".")[0] not in ("nipype", "bids"), f"{path}:{line}: {module}"
            if layer == "signal":
                assert module.split(".")[0] != "nibabel", f"{path}:{line}: signal knows no files"


def test_io_knows_no_nipype() -> None:
    for path in (p for p in sources() if package_of(p) == "io"):
        for module, line in imports(ast.walk(ast.parse(path.read_text())), path):
            assert module.split(".")[0] != "nipype", f"{path}:{line}"


def test_driver_loads_no_torch_in_fact() -> None:
    """Import what the command imports before workers start, and look."""
    modules = (
        "cli.app cli.device io.checks io.dataset io.source io.derivatives models.bundle "
        "models.config execution.run settings"
    ).split()
    code = (
        f"import sys, niflow.dmri7t, {', '.join(f'dmri7t.{m}' for m in modules)}; "
        f"print(*sorted(set(sys.modules) & {HEAVY}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr


def test_only_the_command_line_exits() -> None:
    for path in (p for p in sources() if package_of(p) != "cli"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in ("sys.exit", "exit", "quit"), f"{path}:{node.lineno}: {name}"


def test_niflow_is_a_namespace() -> None:
    assert not (ROOT / "workflows" / "niflow" / "__init__.py").exists()


def test_top_level_folders() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        folders = {p.name for p in ROOT.iterdir() if p.is_dir() and p.name in TOP_LEVEL}
    else:
        folders = {line.split("/")[0] for line in listed.stdout.splitlines() if "/" in line}
    assert folders <= TOP_LEVEL


def test_files_are_of_readable_size() -> None:
    for path in sources():
        assert len(path.read_text().splitlines()) <= 500, f"{path}: split it"
