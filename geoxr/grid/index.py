"""The index on ``spatial_ref`` that makes xarray refuse to mix coordinate reference systems.

xarray aligns the operands of arithmetic, ``merge``, ``concat`` and most other operations, and asks
the indexes of equally named coordinates whether they agree. This one compares CRSs. It says nothing
about lattices: those of ``y`` and ``x`` have indexes of their own.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import xarray as xr
from odc.geo.crs import CRS
from xarray.indexes import PandasIndex

from geoxr.errors import ArgumentError, CRSMismatchError
from geoxr.grid.coords import GRID_MAPPING, MADE_HERE, read_crs
from geoxr.grid.crs import crs_name, same_crs


class CRSIndex(xr.Index):
    """Index of the scalar coordinate ``spatial_ref``: equal where CRSs are.

    geoxr puts it on every layer it makes. ``.geoxr.write_crs`` puts it on one of your own.

    Parameters
    ----------
    crs : CRS or None
        None for a layer whose CRS nobody knows, which agrees with no other.

    Examples
    --------
    >>> CRSIndex(CRS("EPSG:32633"))
    CRSIndex(EPSG:32633)
    """

    def __init__(self, crs: CRS | None) -> None:
        self.crs = crs

    @classmethod
    def from_variables(
        cls, variables: Mapping[Any, xr.Variable], *, options: Mapping[str, Any]
    ) -> CRSIndex:
        """Read the CRS from the attributes of the one coordinate.

        Raises
        ------
        ArgumentError
            If there are several coordinates, or one with dimensions.
        """
        if len(variables) != 1 or next(iter(variables.values())).dims:
            raise ArgumentError(
                f"A CRSIndex belongs to one scalar coordinate, not to {list(variables)}. Let "
                f"da.geoxr.write_crs(crs) make both."
            )
        return cls(read_crs(next(iter(variables.values()))))

    @classmethod
    def concat(
        cls,
        indexes: Sequence[CRSIndex],
        dim: Hashable,
        positions: Iterable[Iterable[int]] | None = None,
    ) -> CRSIndex:
        """Return the index that all share.

        Raises
        ------
        CRSMismatchError
            If they do not.
        """
        for other in indexes[1:]:
            indexes[0]._require(other)
        return indexes[0]

    def equals(self, other: xr.Index, *, exclude: frozenset[Hashable] | None = None) -> bool:
        """Whether both are in one CRS.

        Raises
        ------
        CRSMismatchError
            If they are not, and xarray is aligning, which it tells by `exclude`. To say no would do
            too, but xarray answers that with a word about its defaults, or about labels.
        """
        if not isinstance(other, CRSIndex):
            return False
        if exclude is not None:
            self._require(other)
        return same_crs(self.crs, other.crs)

    def join(self, other: CRSIndex, how: str = "inner") -> CRSIndex:
        """Return the index that both share; see `concat`."""
        self._require(other)
        return self

    def reindex_like(self, other: CRSIndex) -> dict[Hashable, Any]:
        """Move nothing; see `concat`."""
        self._require(other)
        return {}

    def roll(self, shifts: Mapping[Any, int]) -> CRSIndex:
        """Stay: a CRS has no position."""
        return self

    def to_pandas_index(self) -> pd.Index:
        """Return the name of the CRS, for what in xarray still asks pandas."""
        return pd.Index([crs_name(self.crs)], name=GRID_MAPPING)

    def __getitem__(self, key: Any) -> CRSIndex:
        # xr.map_blocks cuts the indexes of its template into blocks.
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({crs_name(self.crs)})"

    def _repr_inline_(self, max_width: int) -> str:
        return repr(self)[:max_width]

    def _require(self, other: CRSIndex) -> None:
        if not same_crs(self.crs, other.crs):
            raise CRSMismatchError(
                f"One operand is in {crs_name(self.crs)}, another in {crs_name(other.crs)}. Pixels "
                f"of different coordinate reference systems do not lie on each other. Put one on the "
                f"grid of the other first: a.geoxr.reproject_match(b). Where a CRS is wrong or "
                f'missing, write it: a.geoxr.write_crs("EPSG:...").'
            )


def guarded(coords: Mapping[Any, Any]) -> xr.Coordinates:
    """Coordinates with an index for every dimension, and `CRSIndex` on ``spatial_ref``."""
    variables = {
        name: coord if isinstance(coord, xr.Variable) else xr.DataArray(coord).variable
        for name, coord in coords.items()
    }
    indexes: dict[Any, xr.Index] = {}
    # The CRS is first, since xarray asks in this order and labels of two CRSs are not worth asking.
    if GRID_MAPPING in variables:
        reference = variables[GRID_MAPPING].copy()
        reference.encoding = {"source": MADE_HERE}
        variables[GRID_MAPPING] = reference
        indexes[GRID_MAPPING] = CRSIndex.from_variables({GRID_MAPPING: reference}, options={})
    for name in [name for name, variable in variables.items() if variable.dims == (name,)]:
        coord = {name: variables[name]}
        indexes[name] = PandasIndex.from_variables(coord, options={})
        variables.update(indexes[name].create_variables(coord))
    return xr.Coordinates(variables, indexes)
