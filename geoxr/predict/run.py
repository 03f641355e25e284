"""`predict`: run a segmentation model over a Dataset and put the classes on its grid."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from geoxr.errors import ArgumentError, TooLargeError
from geoxr.export.staged import staged
from geoxr.export.zarr import create_store
from geoxr.grid.classes import Classes
from geoxr.grid.coords import GRID_MAPPING
from geoxr.grid.geobox import geobox_of
from geoxr.grid.meaning import layer_attrs
from geoxr.grid.window import Window
from geoxr.io.array import ArrayReader, InMemory
from geoxr.io.layer import as_layer, grid_coords
from geoxr.io.open import open_zarr
from geoxr.load.torch import Batch, ChipLoader, to_torch
from geoxr.metrics import evaluating
from geoxr.options import format_bytes, options
from geoxr.sample.chip import ChipPlan, CornerGrid, Grid
from geoxr.typing import PathLike

Model = Callable[..., torch.Tensor]


def predict(
    ds: xr.Dataset,
    model: Model,
    *,
    size: int,
    halo: int = 0,
    batch_size: int = 8,
    key: str = "image",
    concat: Mapping[str, Sequence[str]] | None = None,
    classes: Classes | Mapping[int, str] | Sequence[str] | None = None,
    device: str | torch.device | None = None,
    out: PathLike | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> xr.Dataset:
    """Run a model over all of a Dataset, window by window.

    Parameters
    ----------
    ds : Dataset
    model : callable
        Takes images (B, C, H, W), and ``valid=`` (B, H, W) if it has such a parameter. Returns scores
        per class (B, K, H, W) or class numbers (B, H, W). A module is put into eval mode for the
        time being.
    size : int [pixel]
        Edge of the squares whose result is kept.
    halo : int [pixel]
        Context that is read around every square and thrown away.
    key : str
        Variable (or output of `concat`) that the model sees.
    concat : mapping of str to names, optional
        As for `to_torch`.
    classes : Classes, mapping or names, optional
        What the numbers mean. Default: ``model.classes``.
    device : str or torch.device, optional
        Default: where the parameters of the model are.
    out : path, optional
        Zarr store to write the result to, window by window. Default: memory.
    overwrite : bool
        Replace a store that exists.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Dataset
        ``mask`` (y, x): class codes on the grid of `ds`, with its coordinates; nodata where the
        image is invalid.

    Raises
    ------
    ArgumentError
        If the model returns another shape or number of classes.
    """
    if size < 1 or halo < 0 or batch_size < 1:
        raise ArgumentError(
            f"size and batch_size must be positive and halo not negative, not {size}, {batch_size}, "
            f"{halo}."
        )
    known = classes if classes is not None else getattr(model, "classes", None)
    run = _Run(model, None if known is None else Classes.of(known), size, halo, device)
    loader = _loader(ds, run, batch_size, key, concat)
    template = _template(ds, run)
    if out is None:
        mask = _in_memory(template)
        run.fill(loader, mask, progress)
        return _as_dataset(template, mask)
    with ExitStack() as stack:
        temporary = stack.enter_context(staged(out, overwrite=overwrite))
        array = create_store(temporary, template, chunks=size, shards=None)["mask"]
        run.fill(loader, array, progress)
    return open_zarr(Path(out))


class _Run:
    """A model with what is known about its output."""

    def __init__(
        self,
        model: Model,
        classes: Classes | None,
        size: int,
        halo: int,
        device: str | torch.device | None,
    ) -> None:
        self.model, self.classes, self.size, self.halo = model, classes, size, halo
        self.device = device or _device_of(model)
        self.takes_valid = _takes_valid(model)
        self.dtype = classes.dtype if classes is not None else np.dtype("uint8")
        self.nodata = classes.free_code() if classes is not None else 255

    def fill(self, loader: ChipLoader, mask: Any, progress: bool) -> None:
        """Predict all windows and write their middle into `mask` (y, x)."""
        from tqdm.auto import tqdm

        height, width = loader.plan.geobox.shape
        with evaluating(self.model):
            for batch in tqdm(loader, desc="predict", disable=not progress):
                codes = self._codes(batch, loader.plan.size)
                corners = loader.plan.spots(batch["index"].numpy()).corners + self.halo
                for piece, (row, col) in zip(codes, corners, strict=True):
                    window = Window(int(row), int(col), self.size, self.size)
                    inside = window & Window(0, 0, height, width)
                    if (piece[: inside.height, : inside.width] != self.nodata).any():
                        mask[inside.slices] = piece[: inside.height, : inside.width]

    def _codes(self, batch: Batch, size: tuple[int, int]) -> np.ndarray:
        """Class codes (B, size, size) of the middle of a batch."""
        middle = slice(self.halo, self.halo + self.size)
        valid = batch["valid"]
        seen = valid[:, middle, middle].flatten(1).any(dim=1)
        codes = np.full((len(valid), self.size, self.size), self.nodata, self.dtype)
        if not bool(seen.any()):
            return codes
        image, valid = batch["image"][seen].to(self.device), valid[seen].to(self.device)
        with torch.inference_mode():
            scores = self.model(image, valid=valid) if self.takes_valid else self.model(image)
        index = self._index(scores, tuple(image.shape))[:, middle, middle].cpu().numpy()
        good = valid[:, middle, middle].cpu().numpy()
        values = self.classes.to_codes(index) if self.classes is not None else index
        codes[seen.cpu().numpy()] = np.where(good, values, self.nodata).astype(self.dtype)
        return codes

    def _index(self, scores: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """Class numbers (B, H, W) of what the model returned."""
        if not isinstance(scores, torch.Tensor):
            raise ArgumentError(f"The model returns a {type(scores).__name__}, not a tensor.")
        if scores.is_floating_point() and bool(scores.isnan().any()):
            raise ArgumentError(
                "The model returns NaN. Was it trained to the end, and are its inputs normalised?"
            )
        number, height, width = shape[0], *shape[2:]
        if scores.ndim == 4 and scores.shape[0] == number and scores.shape[2:] == (height, width):
            classes = scores.shape[1]
            if self.classes is not None and classes != len(self.classes):
                raise ArgumentError(
                    f"The model returns scores of {classes} classes, but {len(self.classes)} are "
                    f"named: {', '.join(self.classes.names[:8])}. Pass the right classes=."
                )
            if classes > 1:
                return scores.argmax(dim=1)
        elif scores.shape == (number, height, width) and not scores.is_floating_point():
            limit = len(self.classes) if self.classes is not None else 255
            if not (int(scores.min()) >= 0 and int(scores.max()) < limit):
                raise ArgumentError(
                    f"The model returns class numbers from {int(scores.min())} to "
                    f"{int(scores.max())}, but they must be 0 to {limit - 1}."
                )
            return scores
        raise ArgumentError(
            f"The model returns {scores.dtype} of shape {tuple(scores.shape)} for images of shape "
            f"{shape}. Expected are scores (B, K, H, W) with K > 1, or class numbers (B, H, W)."
        )


def _loader(
    ds: xr.Dataset,
    run: _Run,
    batch_size: int,
    key: str,
    concat: Mapping[str, Sequence[str]] | None,
) -> ChipLoader:
    names = list(concat[key]) if concat and key in concat else [key]
    missing = [name for name in names if name not in ds]
    if missing:
        raise ArgumentError(
            f"The Dataset has no variable {missing[0]!r}; it has {list(ds.data_vars)}."
        )
    partners = [name for name in ds.data_vars if str(name).removesuffix("_valid") in names]
    geobox, side = geobox_of(ds), run.size + 2 * run.halo
    shape = (-(-geobox.height // run.size), -(-geobox.width // run.size))
    last = tuple((n - 1) * run.size - run.halo for n in shape)
    corners = CornerGrid((-run.halo, -run.halo), (run.size, run.size), shape, last)  # type: ignore[arg-type]
    plan = ChipPlan((Grid(geobox),), (side, side), corners)
    loader = to_torch(
        ds[partners], plan, batch_size=batch_size, concat={"image": names}, shard=False
    )
    assert isinstance(loader, ChipLoader)
    return loader


def _template(ds: xr.Dataset, run: _Run) -> xr.Dataset:
    """Return the result with nothing in it."""
    import dask.array

    height, width = geobox_of(ds).shape
    empty = dask.array.full((height, width), run.nodata, dtype=run.dtype, chunks=run.size)
    extra = {"long_name": "predicted class", "units": "1"}
    attrs = layer_attrs(
        kind="categorical", nodata=run.nodata, masked=False, classes=run.classes, extra=extra
    )
    variable = xr.Variable(("y", "x"), empty, attrs)
    return xr.Dataset({"mask": variable}, coords=grid_coords(ds))


def _in_memory(template: xr.Dataset) -> np.ndarray:
    size, limit = template["mask"].nbytes, options.read_limit()
    if size > limit:
        raise TooLargeError(
            f"The prediction takes {format_bytes(size)}, more than options.max_read = "
            f"{format_bytes(limit)}. Write it to disk: predict(..., out='prediction.zarr')."
        )
    return np.full(template["mask"].shape, template["mask"].attrs["nodata"], template["mask"].dtype)


def _as_dataset(template: xr.Dataset, mask: np.ndarray) -> xr.Dataset:
    """Put the array behind a reader, so that its nodata value stays trusted."""
    layer = template["mask"]
    reader = ArrayReader(
        InMemory.of(("y", "x"), mask), geobox_of(template), ("class",), None, layer.attrs["nodata"]
    )
    return as_layer(
        reader, name="mask", kind="categorical", attrs=layer.attrs, band=None,
        coords={name: template.coords[name].variable for name in ("y", "x", GRID_MAPPING)},
    ).to_dataset()  # fmt: skip


def _device_of(model: Model) -> torch.device:
    if isinstance(model, torch.nn.Module):
        for parameter in model.parameters():
            return parameter.device
    return torch.device("cpu")


def _takes_valid(model: Model) -> bool:
    function = model.forward if isinstance(model, torch.nn.Module) else model
    try:
        return "valid" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
