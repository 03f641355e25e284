"""Tasks: what a model is trained for, as Lightning modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from geoxr.errors import ArgumentError, MissingFileError
from geoxr.tasks.baselines import LinearPixelBaseline, MajorityBaseline
from geoxr.tasks.semantic_segmentation import SemanticSegmentationTask
from geoxr.typing import PathLike

__all__ = ["LinearPixelBaseline", "MajorityBaseline", "SemanticSegmentationTask", "load_task"]

_TASKS = {task.__name__: task for task in (SemanticSegmentationTask,)}


def load_task(checkpoint: PathLike, *, model: nn.Module | None = None) -> SemanticSegmentationTask:
    """Restore a task from a checkpoint of Lightning, ready to predict.

    The file is read without running code from it (``torch.load(weights_only=True)``).

    Parameters
    ----------
    checkpoint : path
        As ``trainer.save_checkpoint`` or ``ModelCheckpoint`` wrote it.
    model : Module, optional
        The module of your own that the task was made with, for its weights to go into. A model by
        name is built from its name.

    Returns
    -------
    SemanticSegmentationTask
        On the CPU, in evaluation mode, with its weights, classes and statistics.

    Raises
    ------
    MissingFileError
        If there is no such file.
    ArgumentError
        If it is not a checkpoint of a geoxr task, a module is needed and not given, or given and
        not needed, or the weights don't fit the module.
    """
    path = Path(checkpoint)
    if not path.exists():
        raise MissingFileError(f"There is no checkpoint {str(path)!r}.")
    content = _read(path)
    task_class = _TASKS.get(content["geoxr_task"])
    if task_class is None:
        raise ArgumentError(
            f"{str(path)!r} is a checkpoint of {content['geoxr_task']}, which is none of geoxr's "
            f"tasks ({', '.join(_TASKS)}). Load it with its own class: load_from_checkpoint(path)."
        )
    options = dict(content["hyper_parameters"])
    if model is not None and options["model"] is not None:
        raise ArgumentError(
            f"model= is given, but {str(path)!r} knows its model by name: {options['model']!r}. "
            "Leave model= out."
        )
    if model is not None:
        options["model"] = model
    task = task_class(**options)
    try:
        task.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ArgumentError(
            f"The weights in {str(path)!r} do not fit the model: {reason}"
        ) from error
    return task.eval()


def _read(path: Path) -> dict[str, Any]:
    """Content of a checkpoint that a geoxr task wrote."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever strange bytes lead it to
        raise ArgumentError(
            f"{str(path)!r} is not a checkpoint ({type(error).__name__} while reading it). "
            "Expected is a file that trainer.save_checkpoint(path) wrote."
        ) from error
    wanted = {"geoxr_task", "hyper_parameters", "state_dict"}
    if not isinstance(content, dict) or not wanted <= content.keys():
        raise ArgumentError(
            f"{str(path)!r} was written by torch, but not by a geoxr task. Expected is a file that "
            "trainer.save_checkpoint(path) wrote with such a task."
        )
    return content
