"""Where chips of one size fit: a grid, an area, a share of valid pixels."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from geoxr.errors import ArgumentError, ChipError
from geoxr.grid.area import area_geometry, table_geometries
from geoxr.grid.geobox import geobox_of
from geoxr.sample.area import (
    Units,
    Within,
    check_within,
    chip_area,
    chip_size,
    inside,
    inside_own,
    legal_spans,
    meet,
    owned_parts,
)
from geoxr.sample.area import footprint as data_footprint
from geoxr.sample.cells import Cells, legal_cells
from geoxr.sample.footprint import check_some, valid_footprint
from geoxr.sample.pool import Pool
from geoxr.sample.validity import check_min_valid, valid_fraction
from geoxr.typing import Area, Seed

#: Chips refused in a row before giving up.
_PATIENCE = 20_000


@dataclass(frozen=True, eq=False)
class Room:
    """The corners that chips of one size may have on a grid.

    Attributes
    ----------
    geobox : GeoBox
    size : (int, int) [pixel]
    parts : tuple of shapely.Polygon [pixel]
        Areas that chips lie in.
    within : {"window", "centre"}
        Whether their whole windows or their centres do.
    min_valid : float
        Smallest share of valid pixels.
    ds : Dataset, optional
        What has to be valid; None if nothing has.
    owners : tuple of int, optional
        Row of the table of areas that each part comes from, where rows are told apart.
    """

    geobox: GeoBox
    size: tuple[int, int]
    parts: tuple[shapely.Polygon, ...]
    within: Within
    min_valid: float
    ds: xr.Dataset | None
    owners: tuple[int, ...] | None = None

    @classmethod
    def of(
        cls,
        ds: xr.Dataset,
        size: float | tuple[float, float],
        *,
        aoi: Area | None = None,
        within: Within = "window",
        min_valid: float = 0.0,
        units: Units = "pixels",
        look: bool = True,
    ) -> Room:
        """Check what a user asks for, and look where the data is valid.

        Without `look` chips may lie wherever there are files.

        Raises
        ------
        ArgumentError
            If `ds` has several grids.
        ChipError
            If chips do not fit into the grid, or nothing is valid.
        NoOverlapError
            If the area does not meet the data.
        """
        if isinstance(ds, xr.DataTree):
            raise ArgumentError(
                "These chips are planned on one grid, but a DataTree has one for each node. Plan them on "
                "a node: tree['name'].to_dataset(). grid_chips, random_chips and random_batch_chips "
                "take the whole tree."
            )
        sides = chip_size(size, units, geobox_of(ds))
        check_min_valid(min_valid)
        check_within(within)
        if look:
            return cls.around(ds, sides, aoi, within=within, min_valid=min_valid)
        good = ds if min_valid > 0 else None
        return cls(geobox_of(ds), sides, tuple(chip_area(ds, aoi)), within, min_valid, good)

    @classmethod
    def around(
        cls,
        ds: xr.Dataset,
        sides: tuple[int, int],
        aoi: Area | None,
        *,
        within: Within,
        min_valid: float,
        apart: bool = False,
    ) -> Room:
        """Look where the data is valid in an area; see `of`.

        With `apart`, the rows of the table `aoi` are areas of their own, which may overlap.
        """
        geobox = geobox_of(ds)
        wanted = area_geometry(aoi, geobox)
        if wanted is not None:
            meet(data_footprint(ds), wanted, geobox)
        where = "the Dataset" if wanted is None else "the area (aoi)"
        shape = check_some(valid_footprint(ds, within=wanted, gap=min(sides)), ds, where)
        shapes = np.array([shape], object)
        if apart:
            shapes = shapely.intersection(table_geometries(aoi, geobox), shape)
        parts, owners = owned_parts(shapes, geobox)
        good = ds if min_valid > 0 else None
        rows = tuple(owners.tolist()) if apart else None
        return cls(geobox, sides, tuple(parts), within, min_valid, good, rows)

    def __getstate__(self) -> dict[str, Any]:
        # The cells follow from the rest.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def shapes(self) -> np.ndarray:
        """The parts as a prepared array."""
        shapes = np.array(self.parts, object)
        shapely.prepare(shapes)
        return shapes

    @cached_property
    def cells(self) -> Cells:
        """Rectangles that hold all legal corners, and little else."""
        return legal_cells(self.shapes, self.spans(), self.size, self.within)

    @cached_property
    def pool(self) -> Pool:
        """The cells to draw from, all with the key 0."""
        none = np.zeros(len(self.cells), "int64")
        return Pool.of(self.cells, none, none)

    def spans(self) -> np.ndarray:
        """First row, first column, and how many rows and columns chips of each part may start at.

        Returns
        -------
        int64 array (part, 4)
        """
        return legal_spans(self.parts, self.size, self.geobox, self.within)

    def lie_inside(self, corners: np.ndarray) -> np.ndarray:
        """Tell which chips (n, 2) lie in the grid and in the area."""
        ends = corners + np.array(self.size)
        fits = np.all((corners >= 0) & (ends <= np.array(self.geobox.shape)), axis=1)
        fits[fits] = inside(self.parts, corners[fits], self.size, self.within)
        return fits

    def lie_in(self, corners: np.ndarray, parts: np.ndarray) -> np.ndarray:
        """Tell which chips (n, 2) lie in the part (n,) that they were drawn for."""
        return inside_own(self.shapes[parts], corners, self.size, self.within)

    def hold(self, corners: np.ndarray) -> np.ndarray:
        """Tell which chips (n, 2) lie in grid and area, and are valid enough."""
        good = self.lie_inside(corners)
        if self.ds is not None and good.any():
            share = valid_fraction(self.ds, corners[good], self.size, exact=self.min_valid == 1)
            good[good] = share >= self.min_valid
        return good

    def propose(self, rng: np.random.Generator, number: int) -> np.ndarray:
        """Draw corners; those that `hold` are uniform over all legal ones.

        Returns
        -------
        int64 array (m, 2)
            At most `number`; those in the grid and in the area.

        Raises
        ------
        ChipError
            If no chip fits into the area.
        """
        if not len(self.cells):
            raise no_room([self])
        drawn = self.pool.propose(rng, np.zeros(number, "int64"))
        keep = drawn.sure.copy()
        keep[~keep] = self.lie_in(drawn.corners[~keep], drawn.part[~keep])
        return drawn.corners[keep]

    def draw(self, rng: np.random.Generator, number: int) -> np.ndarray:
        """Draw corners (n, 2) uniformly over all that `hold`.

        Raises
        ------
        ChipError
            If there are (almost) none.
        """
        found = [np.empty((0, 2), "int64")]
        missing, refused = number, 0
        while missing > 0:
            corners = self.propose(rng, 2 * missing)
            corners = corners[self.hold(corners)][:missing]
            found.append(corners)
            refused = 0 if len(corners) else refused + 2 * missing
            missing -= len(corners)
            if refused > _PATIENCE:
                raise ChipError(
                    f"Only {number - missing} of {number} chips of {self.size[0]} x {self.size[1]} "
                    f"pixels were found: (almost) none has {self.min_valid:.0%} valid pixels. Make "
                    f"min_valid or size smaller, or choose another area."
                )
        return np.concatenate(found)


def no_room(rooms: list[Room] | tuple[Room, ...]) -> ChipError:
    """Build the error for areas that no chip fits into."""
    height, width = rooms[0].size
    boxes = [shapely.bounds(room.shapes) for room in rooms if len(room.parts)]
    said = ""
    if boxes:
        left, top, right, bottom = np.concatenate(boxes).T
        largest = int(np.argmax(np.minimum(right - left, bottom - top)))
        said = (
            f" The roomiest part of it is {int(bottom[largest] - top[largest] + 1e-3)} x "
            f"{int(right[largest] - left[largest] + 1e-3)} pixels from edge to edge."
        )
    whole = "with its whole window" if rooms[0].within == "window" else "with its centre"
    return ChipError(
        f"No chip of {height} x {width} pixels lies {whole} where the data is valid and in the area."
        f"{said} Make size smaller, the area larger, or let only centres be in it: "
        f'within="centre".'
    )


def seed_number(seed: Seed) -> int:
    """Return the number that fixes all draws; a Generator is drawn from once."""
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**63))
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError(f"seed must be a whole number from 0 up or a Generator, not {seed!r}.")
    return int(seed)


def check_length(length: int, what: str = "length") -> int:
    """Return a number of chips."""
    if isinstance(length, bool) or not isinstance(length, int | np.integer) or length < 1:
        raise ArgumentError(f"{what} must be a positive number of chips, not {length!r}.")
    return int(length)
