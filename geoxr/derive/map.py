"""`map`: any function of layers, lazily."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from geoxr.derive.call import Call, named, run
from geoxr.derive.cast import Cast
from geoxr.derive.layers import adopted, derived, readers_of
from geoxr.errors import ArgumentError
from geoxr.grid.classes import Classes
from geoxr.grid.meaning import band_dim, classes_of
from geoxr.io.facts import storable
from geoxr.io.mapped import Mapped
from geoxr.io.packing import fact_coords
from geoxr.io.reader import WindowReader, everything
from geoxr.typing import Kind

#: Window of the trial run, and the part of it that must come out the same alone.
_TRIAL, _PART = (5, 6), (slice(1, 4), slice(2, 6))


def map(
    func: Callable[..., Any],
    *layers: xr.DataArray,
    dtype: Any = None,
    bands: Sequence[str] | None = None,
    along: Literal["band", "time"] | Sequence[str] = "band",
    invalid: Literal["any", "func"] = "any",
    nodata: float | None = None,
    kind: Kind | None = None,
    classes: Classes | Mapping[int, str] | Sequence[str] | None = None,
    units: str | None = None,
    name: str | None = None,
) -> xr.DataArray:
    """Apply a function to the pixels of layers, lazily: window by window, whatever is read.

    A trial run on a few made-up pixels tells shape and type of the result; no pixel is read.

    Parameters
    ----------
    func : callable
        Gets one NumPy array per layer, in the type of that layer: (band, y, x), or (y, x) for a
        layer without bands; layers with dates come one date at a time. Returns an array with the
        same y and x: (y, x), or (band, y, x). Every pixel must depend on the same pixel of the
        layers alone: filters over neighbours and statistics of the whole are refused. Pixels that
        are invalid reach it as whatever number they hold. Mind that NumPy computes in the type of
        the arrays: a difference of uint16 wraps around. Decode or convert first:
        ``da.geoxr.decode()``, ``da.geoxr.astype("float32")``.
    *layers : DataArray
        Of geoxr or of others. On one grid, with the same dates; a layer without dates goes with each.
    dtype : dtype-like, optional
        Of the result. Default: what `func` returns.
    bands : sequence of str, optional
        Names of the bands of the result. Default: those of the first layer with as many.
    along : {"band", "time", ("time", "band"), ()}
        Axes along which `func` combines values. With "time" the arrays have a time axis first and
        `func` may reduce it. With ``()`` it works on each band alone: only the bands that are asked
        for are read, and validity is kept per band.
    invalid : {"any", "func"}
        Where the result is missing: where any value that went into it is (along `along` too), or
        where `func` says so. "func" is for floating-point layers, whose missing pixels are NaN then.
        Either way a result that is NaN, infinite or `nodata` is missing.
    nodata : float, optional
        Number that marks missing pixels. Default: NaN in a floating-point result; validity travels
        beside the pixels otherwise.
    kind : {"continuous", "categorical"}, optional
        Default: categorical if there are classes or `func` returns bool.
    classes : Classes, mapping of code to name, or sequence of names, optional
        Of the result.
    units, name : str, optional
        Of the result.

    Returns
    -------
    DataArray
        On the grid and with the coordinates of the first layer, but for scales, offsets and units
        of its bands, which the new numbers need not have.

    Raises
    ------
    CRSMismatchError, GridError
        If the layers are not on one grid.
    ArgumentError
        If `func` fails in the trial run, changes the shape, or looks at other pixels.

    Examples
    --------
    >>> import numpy as np, xarray as xr, geoxr as gx
    >>> coords = {"band": ["red", "nir"], "y": [1.5, 0.5], "x": [0.5, 1.5]}
    >>> da = xr.DataArray(np.full((2, 2, 2), [[[1.0]], [[3.0]]]), coords, ("band", "y", "x"))
    >>> ndvi = gx.map(lambda a: (a[1] - a[0]) / (a[1] + a[0]), da, dtype="float32", units="1")
    >>> ndvi.dims, ndvi.values.tolist()
    (('y', 'x'), [[0.5, 0.5], [0.5, 0.5]])
    """
    if not layers:
        raise ArgumentError("There is no layer to map. Pass some: gx.map(func, image).")
    if not callable(func):
        raise ArgumentError(f"The first argument is a function, not {type(func).__name__}.")
    if invalid not in ("any", "func"):
        raise ArgumentError(f'invalid is {invalid!r}, but must be "any" or "func".')
    layers = adopted(layers)
    readers = readers_of(layers)
    axes = _axes(along, readers)
    if invalid == "func":
        readers = tuple(_with_nan(reader) for reader in readers)
    dims = tuple(_dims(layer, axes) for layer in layers)
    trial = _trial(func, layers, readers, dims, axes)
    result, names, band = _result(func, trial, layers, readers, axes, bands)
    times = next((reader.times for reader in readers if reader.times is not None), None)
    if "time" in axes and "time" not in result:
        times = None
    target = np.dtype(trial.dtype if dtype is None else dtype)
    if target.kind not in "biufc" or not np.can_cast(trial.dtype, target, "same_kind"):
        whole = target.kind in "iu" and trial.dtype.kind in "iu"
        if not whole:
            raise ArgumentError(
                f"{named(func)} returns {trial.dtype}, which is not turned into {target} silently. "
                f"Return what you want, for example np.round(...).astype({str(target)!r})."
            )
    number = storable(nodata, target)
    if nodata is not None and number is None and nodata == nodata:
        raise ArgumentError(f"nodata is {nodata!r}, but no pixel of type {target} can have it.")
    call = Call(func, dims, result, None if dtype is not None else target, invalid)
    reader = Mapped(readers, call, target, number, names, times, axes)
    known = None if classes is None else Classes.of(classes)
    labels = known is not None or target.kind == "b"
    layer = derived(
        layers[0],
        reader,
        kind=kind or ("categorical" if labels else "continuous"),
        classes=known,
        attrs={} if units is None else {"units": units},
        band=band,
        name=name,
    )
    # What the numbers of the operands meant.
    stale = {coord for operand in layers for coord in fact_coords(operand)}
    return layer.drop_vars(stale, errors="ignore")


def _axes(along: str | Sequence[str], readers: Sequence[WindowReader]) -> tuple[str, ...]:
    """Axes that the function gets whole, as far as the layers have them."""
    wanted = (along,) if isinstance(along, str) else tuple(along)
    if not set(wanted) <= {"time", "band"}:
        raise ArgumentError(f'along is {along!r}, but must name "band", "time", both or neither.')
    dated = any(reader.times is not None for reader in readers)
    return tuple(axis for axis in ("time", "band") if axis in wanted and (axis == "band" or dated))


def _with_nan(reader: WindowReader) -> WindowReader:
    """Return a reader whose missing pixels are NaN."""
    if reader.dtype.kind not in "fc":
        raise ArgumentError(
            f'invalid="func" gives NaN for missing pixels, but a layer is {reader.dtype}. Convert it '
            f'first: da.geoxr.decode(), or da.geoxr.astype("float32").'
        )
    if reader.nodata is None or reader.nodata != reader.nodata:
        return reader
    return Mapped((reader,), Cast(), reader.dtype, None, reader.bands, reader.times)


def _dims(layer: xr.DataArray, axes: tuple[str, ...]) -> tuple[str, ...]:
    """Dimensions of the array that a layer becomes."""
    time = "time" in axes and "time" in layer.dims
    band = band_dim(layer.dims) is not None
    return (*(("time",) if time else ()), *(("band",) if band else ()), "y", "x")


def _trial(
    func: Callable[..., Any],
    layers: Sequence[xr.DataArray],
    readers: Sequence[WindowReader],
    dims: Sequence[tuple[str, ...]],
    axes: tuple[str, ...],
) -> np.ndarray:
    """Run the function on made-up pixels and return its result, if it works pixel by pixel."""
    failure: Exception | None = None
    for highest in (100, 1):
        arrays = [
            _made_up(layer, reader, own, highest)
            for layer, reader, own in zip(layers, readers, dims, strict=True)
        ]
        try:
            whole = run(func, arrays)
            part = run(func, [array[..., *_PART] for array in arrays])
        except Exception as error:
            failure = error
            continue
        _check_shape(func, whole, arrays)
        if not np.array_equal(whole[..., *_PART], part, equal_nan=whole.dtype.kind in "fc"):
            raise ArgumentError(
                f"{named(func)} gives other values for a part of its arrays than for the whole, so "
                f"it looks at other pixels (neighbours, a mean, random numbers). A lazy layer is "
                f"computed window by window; compute whole arrays with NumPy: func(da.values)."
            )
        if "band" not in axes:
            _check_bands(func, whole, arrays, dims)
        return whole
    raise ArgumentError(
        f"{named(func)} failed in a trial run on arrays of shape "
        f"{', '.join(str(array.shape) for array in arrays)} and type "
        f"{', '.join(str(array.dtype) for array in arrays)}: {type(failure).__name__}: {failure}. It "
        f"must take any number of these types, since invalid pixels reach it too."
    ) from failure


def _made_up(
    layer: xr.DataArray, reader: WindowReader, dims: tuple[str, ...], highest: int
) -> np.ndarray:
    """Pixels for a trial run: codes of the classes if there are any, else small numbers."""
    sizes = {"time": len(everything(reader)[1]), "band": len(reader.bands)}
    shape = (*(sizes[dim] for dim in dims[:-2]), *_TRIAL)
    rng = np.random.default_rng(0)
    known = classes_of(layer)
    if known is not None and reader.dtype.kind in "iu":
        return rng.choice(np.array(known.values), shape).astype(reader.dtype)
    return rng.integers(0, highest, shape, endpoint=True).astype(reader.dtype)


def _check_shape(func: Callable[..., Any], value: np.ndarray, arrays: Sequence[np.ndarray]) -> None:
    if value.dtype.kind not in "biufc":
        raise ArgumentError(f"{named(func)} returns {value.dtype}, which is no type of pixels.")
    if value.ndim < 2 or value.shape[-2:] != _TRIAL or value.ndim > 4:
        given = ", ".join(str(array.shape) for array in arrays)
        raise ArgumentError(
            f"{named(func)} returned shape {value.shape} for {given}. It must return an array that "
            f"ends in the same y and x: one value per pixel, with bands before them or not."
        )


def _check_bands(
    func: Callable[..., Any],
    whole: np.ndarray,
    arrays: Sequence[np.ndarray],
    dims: Sequence[tuple[str, ...]],
) -> None:
    """The function must do the same for one band as for all, if it says that it does."""
    number = max(
        (a.shape[-3] for a, own in zip(arrays, dims, strict=True) if "band" in own), default=1
    )
    if number == 1:
        return
    last = [a[..., -1:, :, :] if "band" in own else a for a, own in zip(arrays, dims, strict=True)]
    try:
        alone: np.ndarray | None = run(func, last)
    except Exception:
        alone = None
    nan = whole.dtype.kind in "fc"
    expected = whole[..., -1:, :, :] if whole.ndim >= 3 else None
    if alone is None or expected is None or not np.array_equal(alone, expected, equal_nan=nan):
        raise ArgumentError(
            f"{named(func)} gives other values for one band alone than among the others, so it "
            f'combines bands. Say along="band" (the default).'
        )


def _result(
    func: Callable[..., Any],
    trial: np.ndarray,
    layers: Sequence[xr.DataArray],
    readers: Sequence[WindowReader],
    axes: tuple[str, ...],
    bands: Sequence[str] | None,
) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    """Dimensions of what the function returns, names of its bands, and of the band dimension."""
    steps = max(len(everything(reader)[1]) for reader in readers)
    leading = trial.shape[:-2]
    if len(leading) == 2 or (
        len(leading) == 1 and "time" in axes and not _has_bands(layers, bands)
    ):
        if "time" not in axes or leading[0] != steps:
            raise ArgumentError(
                f"{named(func)} returned shape {trial.shape}, whose first axis is no time axis of "
                f"{steps} steps. Return (band, y, x) or (y, x), or pass along='time'."
            )
        result = ("time", *(("band",) if len(leading) == 2 else ()), "y", "x")
    else:
        result = (*(("band",) if leading else ()), "y", "x")
    if "band" not in result:
        if bands is not None:
            raise ArgumentError(f"{named(func)} returns no bands, so they have no names: {bands}.")
        return result, ("1",), None
    number = leading[-1]
    if bands is not None:
        if len(set(bands)) != number or len(bands) != number or isinstance(bands, str):
            raise ArgumentError(
                f"{named(func)} returns {number} bands; {bands!r} are not that many distinct names."
            )
        own = next((dim for layer in layers if (dim := band_dim(layer.dims)) is not None), "band")
        return result, tuple(str(band) for band in bands), own
    for layer, reader in zip(layers, readers, strict=True):
        dim = band_dim(layer.dims)
        if dim is not None and len(reader.bands) == number:
            return result, reader.bands, dim
    raise ArgumentError(
        f"{named(func)} returns {number} bands, as many as no layer has. Name them: "
        f"gx.map(..., bands={[f'b{i + 1}' for i in range(min(number, 3))]})."
    )


def _has_bands(layers: Sequence[xr.DataArray], bands: Sequence[str] | None) -> bool:
    return bands is not None or any(band_dim(layer.dims) is not None for layer in layers)
