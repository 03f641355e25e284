"""Large windows in several threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np

from geoxr.grid.window import Window
from geoxr.io.reader import WindowReader
from geoxr.options import options

#: Side of the squares that large windows are cut into [pixel].
SQUARE = 1024


def read_in_threads(
    reader: WindowReader,
    window: Window,
    out: np.ndarray,
    valid: np.ndarray | None,
    *,
    bands: tuple[int, ...],
    times: tuple[int, ...],
) -> None:
    """`WindowReader.read`, in squares over ``options.threads`` threads.

    Only reads that the main thread asks for are split: whoever reads from threads of its own, as
    loaders and dask do, keeps its cores busy already.
    """
    threads = options.thread_count()
    small = window.height * window.width <= SQUARE**2
    if small or threads == 1 or threading.current_thread() is not threading.main_thread():
        reader.read(window, out, valid, bands=bands, times=times)
        return
    parts = window.tiles(SQUARE)

    def read(part: Window) -> None:
        rows, cols = part.inside(window)
        good = None if valid is None else valid[..., rows, cols]
        reader.read(part, out[..., rows, cols], good, bands=bands, times=times)

    pool = ThreadPoolExecutor(min(threads, len(parts)), thread_name_prefix="geoxr-read")
    try:
        pieces = [pool.submit(read, part) for part in parts]
        wait(pieces, return_when="FIRST_EXCEPTION")
    finally:
        pool.shutdown(cancel_futures=True)
    for piece in pieces:
        if not piece.cancelled():
            piece.result()
