"""Notebooks run from top to bottom, small, and are stored without outputs."""

import ast
import os
import sys
from pathlib import Path

import nbformat
import pytest

os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")  # before jupyter_core, which warns otherwise

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
#: Sizes for the test; the first code cell of each notebook sets them for readers.
SMALL = {
    "align": {"SIZE": 256, "AERIAL": 600, "PLOTS": 15, "POINTS": 100},
    "quickstart": {"SIZE": 256, "CHIP": 32, "CHIPS": 16, "EPOCHS": 1},
    "sampling": {"SIZE": 256, "CHIP": 24, "CHIPS": 96},
}

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


class ThisInterpreter(AsyncKernelManager):
    """Starts the interpreter that runs the tests, whatever kernels are installed for the user."""

    @property
    def kernel_spec(self) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="this", language="python")


@pytest.fixture
def quiet_environment(tmp_path: Path) -> dict[str, str]:
    """One thread, the package beside the tests, and no configuration of the user."""
    home = tmp_path / "home"
    home.mkdir()
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "IPYTHONDIR": str(home),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(paths),
        "TMPDIR": str(home),
    }


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def assigned(source: str) -> set[str]:
    """Names that a cell assigns constants to."""
    return {
        target.id
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def shrink(notebook: nbformat.NotebookNode, values: dict[str, int]) -> None:
    """Assign other values right after the first code cell."""
    at = notebook.cells.index(code_cells(notebook)[0])
    lines = [f"{name} = {value}" for name, value in values.items()]
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell("\n".join(lines)))


@pytest.mark.slow
@each_notebook
def test_a_notebook_runs(path: Path, tmp_path: Path, quiet_environment: dict[str, str]) -> None:
    work = tmp_path / "work"
    work.mkdir()
    notebook = nbformat.read(path, as_version=4)
    shrink(notebook, SMALL[path.stem])
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_manager_class=ThisInterpreter,
        resources={"metadata": {"path": str(work)}},
    )
    client.execute(env=quiet_environment)
    assert list(work.iterdir()) == [], "a notebook writes into a temporary directory only"


@each_notebook
def test_the_first_code_cell_sets_what_the_test_shrinks(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert set(SMALL[path.stem]) <= assigned(code_cells(notebook)[0].source)


@each_notebook
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    for cell in code_cells(nbformat.read(path, as_version=4)):
        assert cell.outputs == []
        assert cell.execution_count is None


@each_notebook
def test_a_notebook_ends_with_checks(path: Path) -> None:
    last = code_cells(nbformat.read(path, as_version=4))[-2:]
    assert any("assert" in cell.source for cell in last)


def test_there_is_a_quickstart() -> None:
    assert "quickstart" in {path.stem for path in NOTEBOOKS}
