"""Draws that are made anew for every epoch."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import shapely

from geoxr.sample.chip import Spots
from geoxr.sample.fill import Terms

#: Epochs whose chips are kept: plans of several epochs may be added up.
_HELD = 8


class Redrawn:
    """Base of frozen dataclasses that draw chips for an epoch; see `geoxr.sample.chip.Draw`."""

    terms: Terms
    seed: int

    def draw(self, rng: np.random.Generator) -> Spots:
        """Draw all chips."""
        raise NotImplementedError

    def places(self, epoch: int) -> Spots:
        """Return the places of an epoch, the same ones whenever it is asked for."""
        held: dict[int, Spots] = self.__dict__.setdefault("_held", {})
        found = held.get(epoch)
        if found is None:
            found = self.draw(np.random.default_rng([self.seed, epoch]))
            while len(held) >= _HELD:
                held.pop(next(iter(held)), None)
            held[epoch] = found
        return found

    @property
    def areas(self) -> tuple[shapely.Geometry, ...]:
        """Where chips lie on each grid [pixel]."""
        return tuple(shapely.multipolygons(list(room.parts)) for room in self.terms.rooms)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
