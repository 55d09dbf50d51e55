"""The import rules of the tree that import-linter cannot say; the others stand in pyproject.toml."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
OURS = ("ems", "adapters", "simulators")
KEPT_OUT_OF_THE_FAST_SIDE = ("cvxpy", "scipy", "pandas", "sqlalchemy", "apscheduler", "pymodbus")
HOMES = {  # a library -> the modules of ours that may import it
    "cvxpy": ("ems.plan", "ems.plan.*", "ems.assets.*.block"),
    "pymodbus": ("adapters.modbus.server", "simulators.modbus"),
}
OPEN_TO_SIMULATORS = (
    "adapters.modbus.page", "adapters.modbus.registers",
    "adapters.modbus.server",  # one server of pages, the one the conformance test proves
    "ems.site", "ems.site.*", "ems.assets", "ems.assets.asset", "ems.assets.*.model",
    "simulators", "simulators.*",
)  # fmt: skip


def test_a_layer_is_named_for_every_part_of_ems():
    assert parts_of_ems() - {"ems"} - layered() == set()


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_only_in_its_home(library: str):
    found = [
        f"{place} imports {name}"
        for root in OURS
        for path in sources(root)
        if not matches(module_name(path), HOMES[library])
        for place, name in imports(path)
        if name.split(".")[0] == library
    ]
    assert found == []


def test_simulators_import_of_ours_only_pages_registers_sites_asset_models_and_root_modules():
    allowed = (*OPEN_TO_SIMULATORS, "ems", *root_modules())
    found = [
        f"{place} imports {name}"
        for path in sources("simulators")
        for place, name in imports(path)
        if name.split(".")[0] in OURS and not matches(name, allowed)
    ]
    assert found == []


def test_root_modules_import_only_the_standard_library_and_each_other():
    allowed = {*sys.stdlib_module_names, "ems"}
    found = [
        f"{place} imports {name}"
        for path in sorted((CHECKOUT / "ems").glob("*.py"))
        for place, name in imports(path)
        if name.split(".")[0] not in (allowed | {"numpy"} if path.name == "timegrid.py" else allowed)
    ]
    assert found == []


def test_a_package_file_holds_a_docstring_and_nothing_else():
    found = [
        path.relative_to(CHECKOUT).as_posix()
        for root in OURS
        for path in sources(root)
        if path.name == "__init__.py" and not is_docstring_only(ast.parse(path.read_text()))
    ]
    assert found == []


def test_importing_the_fast_side_loads_no_solver_frame_database_scheduler_or_field_bus():
    """What import-linter reads from the source, seen from the running interpreter: third parties included."""
    modules = [module_name(path) for part in ("guard", "dispatch", "control") for path in sources(f"ems/{part}")]
    script = f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\nprint(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.split()
    assert modules
    assert [name for name in KEPT_OUT_OF_THE_FAST_SIDE if name in loaded] == []


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def sources(folder: str) -> list[Path]:
    return sorted((CHECKOUT / folder).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__")


def root_modules() -> set[str]:
    return {f"ems.{path.stem}" for path in (CHECKOUT / "ems").glob("*.py")}


def parts_of_ems() -> set[str]:
    folders = {f"ems.{path.parent.name}" for path in (CHECKOUT / "ems").glob("*/__init__.py")}
    return folders | {name.removesuffix(".__init__") for name in root_modules()}


def layered() -> set[str]:
    """Every module that the layers contract of pyproject.toml names."""
    contracts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    return {name for layer in layers for name in re.findall(r"[\w.]+", layer)}


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(file:line, module) of every import in a file, also inside functions; `from package import module` gives the module."""
    for node in ast.walk(ast.parse(path.read_text())):
        place = f"{path.relative_to(CHECKOUT).as_posix()}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            yield from ((place, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = imported_from(path, node)
            for alias in node.names:
                yield place, f"{base}.{alias.name}" if is_module(f"{base}.{alias.name}") else base


def imported_from(path: Path, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    package = path.relative_to(CHECKOUT).parts[: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def is_module(name: str) -> bool:
    path = CHECKOUT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def is_docstring_only(tree: ast.Module) -> bool:
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in tree.body)
