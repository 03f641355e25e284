"""The rules of the house: which module may import which, and what `import geoxr` costs."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "geoxr"

#: Imports point up this list. Modules of one line may import each other.
ORDER = [
    {"errors", "typing", "options"},
    {"grid"},
    {"io"},
    {"warp"},
    {"derive"},
    {"products"},
    {"catalog"},
    {"sample"},
    {"_torchvision"},
    {"load"},
    {"transforms"},
    {"models"},
    {"losses", "metrics"},
    {"tasks"},
    {"export"},
    {"predict"},
    {"datasets"},
    {"accessor", ""},  # "" is geoxr itself, which imports the accessor
    {"plot", "explore"},
    {"testing"},
    {"demo"},
    {"cli", "__main__"},
]
#: May look down the list inside of functions.
LAZY = {"__init__.py", "accessor.py", "io/backend.py"}
#: The only one that imports the accessor.
ACCESSOR_IMPORTED_BY = "__init__.py"
#: Not imported at the top of a module above `load`.
HEAVY = {
    "kornia",
    "lightning",
    "matplotlib",
    "segmentation_models_pytorch",
    "timm",
    "torch",
    "torchmetrics",
    "torchvision",
}
#: Not brought by `import geoxr`, unless `import xarray` brings them.
LATE = {*HEAVY, "geopandas", "numba", "rasterio", "rioxarray", "sklearn", "scipy"}

RANK = {part: rank for rank, parts in enumerate(ORDER) for part in parts}
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def part_of(file):
    """The part of the house that a file is in: "grid" for grid/geobox.py, "" for geoxr itself."""
    first = file.split("/")[0].removesuffix(".py")
    return "" if first == "__init__" else first


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports(file, *, lazy):
    """Yield (line, full name) of what a file imports at run time; `lazy` includes functions."""
    package = ["geoxr", *file.split("/")[:-1]]
    stack = list(ast.parse((PACKAGE / file).read_text(encoding="utf-8")).body)
    while stack:
        node = stack.pop()
        if is_type_checking(node):
            stack += node.orelse
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            stack += ast.iter_child_nodes(node)


def parts_imported(file, *, lazy):
    """Yield (line, part of the house) for the imports of geoxr in a file."""
    for line, name in imports(file, lazy=lazy):
        top, *rest = name.split(".")
        if top == "geoxr":
            first = rest[0] if rest else ""
            exists = (PACKAGE / first).is_dir() or (PACKAGE / f"{first}.py").is_file()
            yield line, first if exists else ""


def test_every_file_has_a_place_in_the_order():
    missing = {file for file in FILES if part_of(file) not in RANK}
    assert not missing, f"Put {missing} into ORDER."


@pytest.mark.parametrize("file", FILES)
def test_imports_point_up(file):
    part = part_of(file)
    down = {
        f"{file}:{line} imports {other or 'geoxr'}"
        for line, other in parts_imported(file, lazy=file not in LAZY)
        if other != part and RANK[other] > RANK[part]
    }
    assert not down


def test_nobody_imports_the_accessor():
    found = {
        file
        for file in FILES
        if any(other == "accessor" for _, other in parts_imported(file, lazy=True))
    }
    assert found == {ACCESSOR_IMPORTED_BY}


@pytest.mark.parametrize("file", [f for f in FILES if RANK.get(part_of(f), 0) < RANK["load"]])
def test_torch_and_matplotlib_begin_at_load(file):
    found = {name.split(".")[0] for _, name in imports(file, lazy=False)} & HEAVY
    assert not found


def test_there_is_no_utils():
    assert not [file for file in FILES if Path(file).name in {"util.py", "utils.py"}]


# What `import geoxr` costs


def in_fresh_python(code):
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_brings_nothing_heavy():
    code = "import {}, sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    brought = {
        name: set(in_fresh_python(code.format(name)).split()) for name in ("xarray", "geoxr")
    }
    assert not (brought["geoxr"] - brought["xarray"]) & LATE


def test_import_costs_little_more_than_xarray():
    code = "import time, {}; print(time.process_time())"  # CPU time: other processes do not count
    best = {"xarray": float("inf"), "geoxr": float("inf")}
    for _ in range(3):
        for name in best:
            best[name] = min(best[name], float(in_fresh_python(code.format(name))))
    assert best["geoxr"] < best["xarray"] + 0.4


def test_every_public_name_resolves():
    geoxr = importlib.import_module("geoxr")
    assert len(set(geoxr.__all__)) == len(geoxr.__all__)
    missing = [name for name in geoxr.__all__ if not hasattr(geoxr, name)]
    assert not missing
