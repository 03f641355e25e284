"""Notebooks run from top to bottom, small, and are stored without outputs."""

import ast
import os
from pathlib import Path

import nbformat
import pytest

os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")  # before jupyter_core, which warns otherwise

from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
#: Sizes for the test; the first code cell of each notebook sets them for readers.
SMALL = {"quickstart": {"SIZE": 320, "CHIP": 64, "CHIPS": 24, "EPOCHS": 1}}


def first_names(notebook: nbformat.NotebookNode) -> set[str]:
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
    nodes = ast.parse(cell.source).body
    return {node.targets[0].id for node in nodes if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    small = SMALL[path.stem]
    assert set(small) <= first_names(notebook)
    at = next(i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    lines = [f"{name} = {value}" for name, value in small.items()]
    lines.append("import torch; torch.set_num_threads(1)")
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell("\n".join(lines)))
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_there_is_a_quickstart() -> None:
    assert "quickstart" in {path.stem for path in NOTEBOOKS}
