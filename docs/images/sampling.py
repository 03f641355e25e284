"""Draw sampling.svg: python docs/images/sampling.py. The chips in it are planned here."""

from pathlib import Path

import numpy as np
import shapely
import xarray as xr
from conventions import dot, path, rect, text, write

import geoxr as gx

#: Pixels of a grid along y and x, and how large one is drawn.
HEIGHT, WIDTH, SCALE = 60, 80, 3.0
#: Where captions begin.
BELOW = HEIGHT * SCALE


def layer(height=HEIGHT, width=WIDTH, area=None):
    """Return a Dataset on pixels of 1 m, valid in an area given in pixels."""
    values = np.ones((height, width), "float32")
    y, x = np.arange(height) + 0.5, np.arange(width) + 0.5
    if area is not None:
        values[~shapely.contains_xy(area, *np.meshgrid(x, y))] = np.nan
    image = xr.DataArray(values, {"y": -y, "x": x}, ("y", "x"), attrs={"kind": "continuous"})
    return image.geoxr.write_crs("EPSG:32633").to_dataset(name="image")


def frame(height=HEIGHT, width=WIDTH, scale=SCALE, y=0.0):
    return rect(0, y, width * scale, height * scale, "grid")


def chips(plan, kind, scale=SCALE, y=0.0):
    """Draw the chips of a plan."""
    return [drawn(chip, kind, scale, y) for chip in plan.chips()]


def drawn(chip, kind, scale=SCALE, y=0.0):
    at = chip.window
    return rect(at.col * scale, at.row * scale + y, at.width * scale, at.height * scale, kind)


def shapes(geometry, kind):
    """Draw polygons given in CRS units, where y points up."""
    return [
        path([(x * SCALE, -y * SCALE) for x, y in part.exterior.coords[:-1]], kind, close=True)
        for part in shapely.get_parts(geometry)
    ]


def flipped(polygon):
    """Bring a polygon from pixels to CRS units."""
    return shapely.transform(polygon, lambda at: at * [1, -1])


def circle(centre, radius):
    return (
        f'<circle cx="{centre[0] * SCALE:g}" cy="{centre[1] * SCALE:g}" '
        f'r="{radius * SCALE:g}" class="round"/>'
    )


def middle(chip):
    at = chip.window
    return at.col + at.width / 2, at.row + at.height / 2


def edges():
    """The last chip of a row."""
    scale, parts = 5.0, []
    ds = layer(8, 42)
    for number, edge in enumerate(("shift", "pad", "drop")):
        y = number * 66.0
        plan = ds.geoxr.grid_chips((8, 12), edge=edge)
        parts += [*chips(plan, "chip", scale, y), frame(8, 42, scale, y)]
        parts += [text(0, y + 55, f'edge="{edge}": {len(plan)} chips', "small")]
    return parts


def areas():
    """Windows and centres in an area."""
    scene = shapely.Polygon([(16, 3), (76, 14), (64, 57), (4, 45)])
    ds = layer(area=scene)
    footprint = flipped(scene)
    whole = ds.geoxr.grid_chips(9, stride=10, aoi=footprint)
    centre = ds.geoxr.grid_chips(9, stride=10, aoi=footprint, within="centre")
    inside = {chip.window for chip in whole}
    assert inside
    return [
        *shapes(footprint, "land"), frame(),
        *[drawn(c, "chip" if c.window in inside else "loose") for c in centre],
        text(0, BELOW + 17, "filled: the whole window is in the area"),
        text(0, BELOW + 34, 'dashed: its centre is, within="centre"'),
    ]  # fmt: skip


def near():
    """Batches of chips that share what is read."""
    spread = 18
    plan = layer().geoxr.random_batch_chips(10, 24, batch_size=8, spread=spread, seed=10)
    parts = [rect(0, 0, WIDTH * SCALE, HEIGHT * SCALE, "land")]
    for number, kind in enumerate(("chip", "other", "loose")):
        parts += chips(plan[8 * number : 8 * number + 8], kind)
    return [
        *parts, frame(),
        text(0, BELOW + 17, f"three batches of {plan.together}: their corners lie in"),
        text(0, BELOW + 34, f"squares of spread = {spread}, chips are 10 wide"),
    ]  # fmt: skip


def triplet():
    """An anchor, a neighbour and a distant chip."""
    near, far = 11, 25
    plan = layer().geoxr.triplet_chips(9, 1, near=near, far=far, seed=7)
    anchor, neighbour, distant = plan[0]
    return [
        rect(0, 0, WIDTH * SCALE, HEIGHT * SCALE, "land"), frame(),
        circle(middle(anchor), near), circle(middle(anchor), far),
        drawn(anchor, "other"), drawn(neighbour, "chip"), drawn(distant, "chip"),
        text(0, BELOW + 17, "orange: anchor; a neighbour within near,"),
        text(0, BELOW + 34, "a chip further than far, by their centres"),
    ]  # fmt: skip


def around():
    """Chips around points and polygons."""
    points = [(14, 14), (77, 8)]
    lake = shapely.Polygon([(30, 24), (52, 22), (66, 34), (62, 50), (44, 52), (28, 42)])
    pond = shapely.Point(12, 46).buffer(4)
    given = [flipped(shape) for shape in (*map(shapely.Point, points), lake, pond)]
    plan = layer().geoxr.chips_around(given, 14)
    return [
        rect(0, 0, WIDTH * SCALE, HEIGHT * SCALE, "land"), frame(),
        *chips(plan, "chip"), *shapes(given[2], "shape"), *shapes(given[3], "shape"),
        *[dot(x * SCALE, y * SCALE, "dot", 4) for x, y in points],
        text(0, BELOW + 17, "in the middle of a chip, or covered by"),
        text(0, BELOW + 34, "several; at the edge they are moved in"),
    ]  # fmt: skip


def splits():
    """Areas that no two chips of different splits share."""
    ds = layer()
    train, val = gx.split_blocks(ds, (0.6, 0.4), block=20, gap=3, seed=5)
    return [
        *shapes(train[0], "land"), *shapes(val[0], "land"),
        *chips(ds.geoxr.random_chips(8, 30, aoi=train, seed=0), "chip"),
        *chips(ds.geoxr.grid_chips(8, aoi=val), "other"), frame(),
        text(0, BELOW + 17, "blocks of 20, a gap of 3; blue: random chips"),
        text(0, BELOW + 34, "for training, orange: a grid for validation"),
    ]  # fmt: skip


if __name__ == "__main__":
    write(
        Path(__file__).with_suffix(".svg"),
        [
            ("Edges", edges()),
            ("Footprints and areas", areas()),
            ("Near chips", near()),
            ("Triplets", triplet()),
            ("Around features", around()),
            ("Splits", splits()),
        ],
    )
