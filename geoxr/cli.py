"""The command line: ``geoxr demo``."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from geoxr.errors import GeoxrError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0 if all went well, 1 after an error."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the first into the second
        print("geoxr: interrupted", file=sys.stderr)
        return 130
    except (GeoxrError, OSError, MemoryError) as error:
        if arguments.debug:
            traceback.print_exc()
        else:
            text = " ".join(str(error).split()) or type(error).__name__
            print(f"geoxr: {text}", file=sys.stderr)
        return 1
    except Exception as error:
        if arguments.debug:
            raise
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        print(
            f"geoxr: something unforeseen went wrong ({what}). Run it again with --debug to see where, "
            f"and please report it.",
            file=sys.stderr,
        )
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="geoxr", description="Deep learning on map layers.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="from files to a map: align, train, predict, report",
        description=(
            "Align images with labels, train a U-Net on random chips of some blocks, score it on "
            "others beside two baselines, predict the whole scene, and write cube.zarr, "
            "prediction.tif, checkpoint.ckpt, report.json and report.png. Without --image and "
            "--mask it makes Landsat-like scenes and a crop map first."
        ),
    )
    demo.set_defaults(run=_demo)
    add = demo.add_argument
    add("--out", type=Path, default=Path("demo"), metavar="DIR", help="where to write [demo]")
    add("--image", type=Path, nargs="+", default=[], metavar="FILE", help="image files")
    add("--mask", type=Path, nargs="+", default=[], metavar="FILE", help="label raster files")
    add("--mask-nodata", type=float, metavar="VALUE", help="label value that means: not known")
    add("--num-classes", type=int, metavar="K", help="labels are 0 to K-1 [what occurs]")
    add("--fast", action="store_true", help="small and short: to see that it runs")
    add("--size", type=int, metavar="PIXELS", help="side of the scenes that are made")
    add("--chip", type=int, metavar="PIXELS", help="side of a chip [128, less on small grids]")
    add("--epochs", type=int, help="passes over the chips")
    add("--chips", type=int, help="chips in an epoch, drawn anew for each")
    add("--seed", type=int, default=0, help="fixes data, blocks, chips and training [0]")
    add("--overwrite", action="store_true", help="replace what an earlier run wrote")
    add("--quiet", action="store_true", help="no progress bars")
    add("--debug", action="store_true", help="show where an error came from")
    return parser


def _demo(arguments: argparse.Namespace) -> None:
    # Threads of torch that wait should not keep the cores from the threads that read chips.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from geoxr.demo.report import table
    from geoxr.demo.run import run_demo
    from geoxr.demo.settings import Settings

    fast = {"size": 512, "epochs": 3, "chips": 64} if arguments.fast else {}
    given = {name: getattr(arguments, name) for name in ("size", "chip", "epochs", "chips")}
    chosen = fast | {name: value for name, value in given.items() if value is not None}
    settings = Settings(
        out=arguments.out,
        images=tuple(arguments.image),
        masks=tuple(arguments.mask),
        mask_nodata=arguments.mask_nodata,
        num_classes=arguments.num_classes,
        seed=arguments.seed,
        overwrite=arguments.overwrite,
        progress=not arguments.quiet,
        **chosen,
    )
    report = run_demo(settings)
    for note in report["notes"]:
        print(note)
    print(table(report, settings.out))


if __name__ == "__main__":
    sys.exit(main())
