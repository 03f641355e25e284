"""Fields: sections of land, split and split again, as the Public Land Survey did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoxr.testing.noise import FloatArray, IntArray, cell_uniform, salt, value_noise

#: Splits from a section to its smallest fields.
LEVELS = 4
NODES = 2 ** (LEVELS + 1) - 1
#: How likely a piece is split again, by level: quarters always, then halves of quarters, or less.
SPLIT_CHANCE = (1.0, 1.0, 0.65, 0.3)


@dataclass(frozen=True)
class Parcels:
    """Which field each of many places is in, and where in that field it is.

    Attributes
    ----------
    section : (i, j) of arrays of int
        The section of each place.
    node : array of int
        The field within its section: a leaf of the section's tree of splits.
    along, across : array of float32 [m]
        Distance from the centre of the field, along its longer and its shorter side.
    length, width : array of float32 [m]
        Sides of the field, the longer one first.
    road : array of float32 [m]
        Distance from the nearest edge of the section.
    """

    section: tuple[IntArray, IntArray]
    node: IntArray
    along: FloatArray
    across: FloatArray
    length: FloatArray
    width: FloatArray
    road: FloatArray

    def draw(self, stream: int) -> FloatArray:
        """Return the uniform random number of each place's field, in [0, 1)."""
        return cell_uniform(self.section[0] * NODES + self.node, self.section[1], stream)


def locate(x: FloatArray, y: FloatArray, *, section: float, seed: int) -> Parcels:
    """Find the field of each place.

    Parameters
    ----------
    x, y : array of float64 [m]
        Places, of one shape.
    section : float [m]
        Side of a section.
    seed : int

    Returns
    -------
    Parcels
        Of the shape of `x`.
    """
    u, v = _survey_axes(x, y, seed)
    i, j = np.floor(u / section).astype("int64"), np.floor(v / section).astype("int64")
    a, b = (u - i * section).astype("float32"), (v - j * section).astype("float32")

    i0, j0 = i.min(), j.min()
    rows, columns = np.arange(i0, i.max() + 1), np.arange(j0, j.max() + 1)
    tree = _split_sections(rows[:, None], columns[None, :], section, seed)

    base = ((i - i0) * len(columns) + (j - j0)) * NODES
    at = base.copy()
    for _ in range(LEVELS):
        axis = tree.axis[at]
        beyond = np.where(axis == 0, a, b) >= tree.cut[at]
        at = np.where(axis < 0, at, base + 2 * (at - base) + 1 + beyond)

    left, bottom, w, h = (tree.box[k][at] for k in range(4))
    p, q = a - left - w / 2, b - bottom - h / 2
    tall = h > w
    return Parcels(
        section=(i, j),
        node=at - base,
        along=np.where(tall, q, p),
        across=np.where(tall, p, q),
        length=np.maximum(w, h),
        width=np.minimum(w, h),
        road=np.minimum(
            np.minimum(a, np.float32(section) - a), np.minimum(b, np.float32(section) - b)
        ),
    )


def _survey_axes(x: FloatArray, y: FloatArray, seed: int) -> tuple[FloatArray, FloatArray]:
    """Turn the survey by 4 degrees (north at 90 W in EPSG:5070), and let its lines bend gently."""
    cos, sin = 0.9976, 0.0698
    bend_x = 120.0 * value_noise(x, y, 7000.0, salt(seed, "bend x"))
    bend_y = 120.0 * value_noise(x, y, 7000.0, salt(seed, "bend y"))
    return cos * x - sin * y + bend_x, sin * x + cos * y + bend_y


@dataclass(frozen=True)
class _Tree:
    """The splits of many sections; flat, ``NODES`` entries a section."""

    axis: IntArray  # 0 or 1: split across u or v; -1: a field
    cut: FloatArray  # where, in metres from the section's corner
    box: FloatArray  # (4, n): left, bottom, width, height in metres


def _split_sections(i: IntArray, j: IntArray, section: float, seed: int) -> _Tree:
    shape = (len(i), j.shape[1], NODES)
    axis = np.full(shape, -1, dtype="int8")
    cut = np.zeros(shape, dtype="float32")
    box = np.zeros((4, *shape), dtype="float32")
    box[2:, ..., 0] = section
    alive = np.ones(shape[:2], dtype=bool)
    lives = {0: alive}
    for node in range(NODES // 2):
        level = (node + 1).bit_length() - 1
        left, bottom, w, h = (box[k, ..., node] for k in range(4))
        chance = cell_uniform(i * NODES + node, j, salt(seed, "split"))
        where = cell_uniform(i * NODES + node, j, salt(seed, "where"))
        splits = lives[node] & (chance < SPLIT_CHANCE[level])
        tall = h > w
        share = np.float32(0.4) + np.float32(0.2) * where
        axis[..., node] = np.where(splits, tall.astype("int8"), -1)
        cut[..., node] = np.where(tall, bottom + share * h, left + share * w)
        for child, first in ((2 * node + 1, True), (2 * node + 2, False)):
            part = share if first else 1 - share
            box[0, ..., child] = left + np.where(tall | first, 0, share * w)
            box[1, ..., child] = bottom + np.where(tall & (not first), share * h, 0)
            box[2, ..., child] = np.where(tall, w, part * w)
            box[3, ..., child] = np.where(tall, part * h, h)
            lives[child] = splits
    return _Tree(axis.reshape(-1), cut.reshape(-1), box.reshape(4, -1))
