"""Draw conventions.svg: python docs/images/conventions.py. The numbers in it are computed here."""

from pathlib import Path

import numpy as np
import shapely

CELL = 46
STYLE = """
  .card { fill: #ffffff; stroke: #d0d7de; }
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .head { font-weight: 600; font-size: 14px; }
  .small { font-size: 11.5px; fill: #57606a; }
  .grid { stroke: #8c959f; fill: none; }
  .cell { fill: #b6d4fe; }
  .hole { fill: #d0d7de; }
  .line { stroke: #b35900; stroke-width: 2; fill: none; }
  .shape { stroke: #b35900; stroke-width: 2; fill: #b35900; fill-opacity: 0.12; }
  .chip { stroke: #0550ae; stroke-width: 1.2; fill: #0969da; fill-opacity: 0.22; }
  .other { stroke: #b35900; stroke-width: 1.2; fill: #b35900; fill-opacity: 0.22; }
  .loose { stroke: #0550ae; stroke-dasharray: 3 2; fill: none; }
  .round { stroke: #57606a; stroke-dasharray: 4 3; fill: none; }
  .land { fill: #eaeef2; stroke: #8c959f; }
  .dot { fill: #b35900; }
  .off { fill: none; stroke: #57606a; }
  .on { fill: #1f2328; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #161b22; stroke: #3d444d; }
    text { fill: #e6edf3; }
    .small { fill: #9198a1; }
    .grid { stroke: #6e7681; }
    .cell { fill: #1f4f8f; }
    .hole { fill: #3d444d; }
    .line, .shape { stroke: #ffa657; }
    .chip { stroke: #79c0ff; fill: #388bfd; }
    .other { stroke: #ffa657; fill: #ffa657; }
    .loose { stroke: #79c0ff; }
    .round { stroke: #9198a1; }
    .land { fill: #21262d; stroke: #6e7681; }
    .shape, .dot { fill: #ffa657; }
    .off { stroke: #9198a1; }
    .on { fill: #e6edf3; }
  }
"""


def text(x, y, words, kind="", anchor="start"):
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{words}</text>'


def rect(x, y, width, height, kind):
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" class="{kind}"/>'


def dot(x, y, kind, radius=3.0):
    return f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" class="{kind}"/>'


def path(points, kind, close=False):
    steps = " L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<path d="M{steps}{" Z" if close else ""}" class="{kind}"/>'


def lattice(rows, cols, x=0.0, y=0.0, size=CELL, kind="grid"):
    lines = [[(x, y + r * size), (x + cols * size, y + r * size)] for r in range(rows + 1)]
    lines += [[(x + c * size, y), (x + c * size, y + rows * size)] for c in range(cols + 1)]
    return [path(line, kind) for line in lines]


def pixels():
    """Corners, centres, windows."""
    parts = [rect(CELL, CELL, 2 * CELL, CELL, "cell"), *lattice(3, 4)]
    parts += [dot((c + 0.5) * CELL, (r + 0.5) * CELL, "off") for r in range(3) for c in range(4)]
    parts += [
        dot(0, 0, "dot", 4), text(6, -7, "(0, 0)"),
        dot(CELL / 2, CELL / 2, "dot", 4), text(CELL / 2 + 6, CELL / 2 + 16, "(0.5, 0.5)"),
        dot(4 * CELL, 3 * CELL, "dot", 4), text(4 * CELL, 3 * CELL + 17, "(3, 4)", anchor="end"),
        text(0, 3 * CELL + 36, "blue: rows 1:2, columns 1:3", "small"),
        text(0, 3 * CELL + 52, "(row, column); y and x label centres", "small"),
    ]  # fmt: skip
    return parts


def ties():
    """A position on an edge belongs to the right or lower cell."""
    parts = [rect(CELL, 0, CELL, CELL, "cell"), rect(2 * CELL, 2 * CELL, CELL, CELL, "cell")]
    parts += lattice(3, 4)
    parts += [
        dot(CELL, CELL / 2, "dot", 4), path([(CELL, CELL / 2), (1.4 * CELL, CELL / 2)], "line"),
        dot(2 * CELL, 2 * CELL, "dot", 4),
        path([(2 * CELL, 2 * CELL), (2.3 * CELL, 2.3 * CELL)], "line"),
        text(0, 3 * CELL + 17, "on an edge, or up to 10⁻⁶ pixel before it:"),
        text(0, 3 * CELL + 36, "the cell to the right, the cell below", "small"),
        text(0, 3 * CELL + 52, "on a corner: both", "small"),
    ]  # fmt: skip
    return parts


def aligned():
    """Where the pixels of a target start."""
    scale = CELL / 30  # metres
    parts = []
    for row, (start, words) in enumerate(
        [(0, 'align="snap": edges on multiples of 30'), (15, 'align="keep": edges as in the file')]
    ):
        y = row * 2 * CELL + 12
        parts += [rect(start * scale, y, 3 * CELL, CELL, "cell")]
        parts += lattice(1, 3, start * scale, y)
        parts += [
            text((start + 30 * i) * scale, y - 5, f"{start + 30 * i}", "small", "middle")
            for i in range(4)
        ]
        parts += [text(0, y + CELL + 18, words)]
    parts += [
        text(0, 4 * CELL + 6, "file: 30 m pixels that start at 15", "small"),
    ]
    return parts


def shares():
    """Share of each source pixel that lies in a target pixel."""
    quad = shapely.Polygon([(0.6, 0.3), (2.9, 0.6), (2.6, 2.8), (0.3, 2.5)])
    hole, total, labels = (1, 2), 0.0, []
    for r, c in np.ndindex(3, 3):
        share = quad.intersection(shapely.box(c, r, c + 1, r + 1)).area
        total += 0 if (r, c) == hole else share
        label = "none" if (r, c) == hole else f"{share:.2f}"
        labels.append(text((c + 0.5) * CELL, (r + 0.5) * CELL + 4, label, anchor="middle"))
    corners = [(x * CELL, y * CELL) for x, y in quad.exterior.coords[:-1]]
    return [
        rect(hole[1] * CELL, hole[0] * CELL, CELL, CELL, "hole"),
        *lattice(3, 3),
        path(corners, "shape", close=True),
        *labels,
        text(0, 3 * CELL + 17, "weights of the source pixels under a"),
        text(0, 3 * CELL + 34, "target pixel; where there is no data (grey)"),
        text(0, 3 * CELL + 51, f"there is none, so they add up to {total:.2f}"),
    ]


def neighbours():
    """Weights of a bilinear pixel beside one without data."""
    size, x, y = 1.5 * CELL, 0.7, 0.9  # the position, in source pixels from the corner
    hole = (1, 1)
    weights = {(r, c): abs(1 - c - (x - 0.5)) * abs(1 - r - (y - 0.5)) for r, c in np.ndindex(2, 2)}
    total = sum(weight for at, weight in weights.items() if at != hole)
    parts = [rect(hole[1] * size, hole[0] * size, size, size, "hole"), *lattice(2, 2, size=size)]
    for (r, c), weight in weights.items():
        at = (c + 0.5) * size, (r + 0.5) * size
        parts.append(path([(x * size, y * size), at], "grid"))
        parts.append(dot(*at, "off"))
        label = "none" if (r, c) == hole else f"{weight / total:.2f}"
        parts.append(text(at[0], at[1] - 9, label, anchor="middle"))
    return [
        *parts,
        dot(x * size, y * size, "dot", 4),
        text(0, 2 * size + 17, "bilinear: without the invalid neighbour the"),
        text(0, 2 * size + 34, f"weights, {total:.2f} in all, are scaled up to 1;"),
        text(0, 2 * size + 51, "invalid if the cell it falls into is"),
    ]


def burnt():
    """Pixels of a polygon, a line and a point."""
    shape = shapely.Polygon([(0.2, 0.3), (3.3, 0.8), (2.7, 2.7), (0.9, 2.2)])
    line, point = [(3.6, 0.3), (4.4, 2.6)], (4.7, 0.6)
    parts = []
    for r, c in np.ndindex(3, 5):
        if shape.contains(shapely.Point(c + 0.5, r + 0.5)):
            parts.append(rect(c * CELL, r * CELL, CELL, CELL, "cell"))
    # Bresenham: one pixel in each row.
    for r, c in [(0, 3), (1, 4), (2, 4)]:
        parts.append(rect(c * CELL, r * CELL, CELL, CELL, "cell"))
    parts.append(rect(4 * CELL, 0, CELL, CELL, "cell"))
    parts += lattice(3, 5)
    for r, c in np.ndindex(3, 5):
        inside = shape.contains(shapely.Point(c + 0.5, r + 0.5))
        parts.append(dot((c + 0.5) * CELL, (r + 0.5) * CELL, "on" if inside else "off"))
    corners = [(x * CELL, y * CELL) for x, y in shape.exterior.coords[:-1]]
    parts += [
        path(corners, "shape", close=True),
        path([(x * CELL, y * CELL) for x, y in line], "line"),
        dot(point[0] * CELL, point[1] * CELL, "dot", 4),
        text(0, 3 * CELL + 17, "polygon: pixels whose centre is inside"),
        text(0, 3 * CELL + 34, "line: one pixel per row or column"),
        text(0, 3 * CELL + 51, "point: the pixel it is in"),
    ]
    return parts


def write(target, panels, width=290, height=270, across=3):
    """Write panels, (title, parts), side by side as one drawing."""
    rows = -(-len(panels) // across)
    body = []
    for i, (title, parts) in enumerate(panels):
        x, y = 28 + i % across * width, 34 + i // across * height
        body += [text(x, y, title, "head")]
        body += [f'<g transform="translate({x},{y + 30})">', *parts, "</g>"]
    size = f"{across * width + 30} {rows * height + 20}"
    whole = rect(0.5, 0.5, across * width + 29, rows * height + 19, 'card" rx="8')
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img">',
             f"<style>{STYLE}</style>", whole, *body, "</svg>"]  # fmt: skip
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main():
    panels = [
        ("Pixels and windows", pixels()),
        ("Ties", ties()),
        ("Start of a grid", aligned()),
        ("Neighbours without data", neighbours()),
        ("Coarser pixels", shares()),
        ("Features", burnt()),
    ]
    write(Path(__file__).with_suffix(".svg"), panels)


if __name__ == "__main__":
    main()
