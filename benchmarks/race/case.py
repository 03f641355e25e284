"""What is measured: loaders under conditions, and which of them run in turns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

ORDERS = ("random", "batch", "grid")
#: Files that TorchGeo reads where it has no reader for the variant itself.
PEER_DATA = {"zarr": "pre", "multiband": "raw"}
CHIP, STRIDE = 224, 112


@dataclass(frozen=True)
class Case:
    """One loader under one condition.

    Attributes
    ----------
    system : {"geoxr", "torchgeo", "rioxarray", "xbatcher", "memory"}
    data : str
        Variant of the data: raw, deflate, multiband, pre (warped beforehand), zarr (of pre).
    order : {"random", "batch", "grid"}
        Sampler; "batch" draws the chips of a batch near each other.
    workers : int
        Threads of geoxr, processes of TorchGeo; 0 works in the calling thread.
    cache : {"on", "off", "disk"}
        "on" is the default of geoxr (decoded tiles, in memory) and ``cache=True`` of TorchGeo (open
        files).
    places : {"own", "peer"}
        Whether a loader draws its chips itself or takes those that TorchGeo asked for, moved to whole
        pixels.
    epoch : int
        Which one is measured; those before run off the clock.
    """

    system: str = "geoxr"
    data: str = "raw"
    order: str = "random"
    workers: int = 0
    batch_size: int = 32
    cache: str = "on"
    places: str = "own"
    resampling: str = "nearest"
    epoch: int = 0

    @property
    def peer(self) -> Case:
        """TorchGeo under the condition that this case is compared with."""
        return Case(
            "torchgeo", PEER_DATA.get(self.data, self.data), self.order, self.workers,
            self.batch_size, "off" if self.cache == "off" else "on",
        )  # fmt: skip


#: Cases that run in turns.
Group = tuple[Case, ...]


def sizes_and_orders(sizes: Sequence[int], workers: Sequence[int]) -> list[Group]:
    """Figure 3a: the rate over batch sizes, for the three samplers."""
    cases = [
        Case(order=order, batch_size=size, workers=number)
        for number in workers for order in ORDERS for size in sizes
    ]  # fmt: skip
    return [(case, case.peer) for case in cases]


def caching(sizes: Sequence[int]) -> list[Group]:
    """Figure 3b: warped on the fly or beforehand, with and without a cache, at random places."""
    cases = [
        Case(data=data, cache=cache, batch_size=size)
        for data in ("raw", "pre") for cache in ("on", "off") for size in sizes
    ]  # fmt: skip
    return [(case, case.peer) for case in cases]


def required(variants: Sequence[str]) -> list[Group]:
    """The conditions with a required ratio, with the chips of TorchGeo too."""
    groups: list[Group] = []
    for data in variants:
        for workers in (0, 2) if data in ("raw", "pre") else (0,):
            for order in ORDERS:
                case = Case(data=data, order=order, workers=workers)
                group: Group = (case, case.peer)
                if data in ("raw", "pre", "deflate") and workers == 0:
                    group = (case, replace(case, places="peer"), case.peer)
                if data == "deflate" and order == "random":
                    scratch = replace(case, cache="disk")
                    group = (*group, scratch, replace(scratch, epoch=1))
                groups.append(group)
    return groups


def others(data: str) -> list[Group]:
    """What else one might write, and what a copy in memory takes; bilinear beside nearest."""
    case = Case(data=data)
    return [
        (case, replace(case, resampling="bilinear"), replace(case, system="rioxarray")),
        (
            replace(case, order="grid"),
            replace(case, order="grid", system="xbatcher"),
            replace(case, order="grid", system="memory"),
        ),
        (case, replace(case, system="memory")),
    ]


def without(groups: Iterable[Group], *, peer: bool) -> list[Group]:
    """Leave out what cannot run, and cases that an earlier group has already.

    Parameters
    ----------
    peer : bool
        Whether TorchGeo can run.
    """
    seen: set[Case] = set()
    kept: list[Group] = []
    for group in groups:
        able = [c for c in group if peer or (c.system != "torchgeo" and c.places == "own")]
        fresh = tuple(case for case in able if case not in seen)
        seen.update(fresh)
        if fresh:
            kept.append(fresh)
    return kept
