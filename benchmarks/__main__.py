"""``python -m benchmarks``: run every benchmark, or one: ``python -m benchmarks loading --full``."""

import sys

from benchmarks import catalog, engine, formats, loading, mosaic

if __name__ == "__main__":
    cases = {
        "loading": loading,
        "formats": formats,
        "engine": engine,
        "mosaic": mosaic,
        "catalog": catalog,
    }
    if len(sys.argv) > 1 and sys.argv[1] in cases:
        name = sys.argv.pop(1)
        cases = {name: cases[name]}
    elif len(sys.argv) > 1:
        sys.exit(f"Name a benchmark before its options: {', '.join(cases)}.")
    for case in cases.values():
        print(f"\n{case.__doc__.splitlines()[0]}")
        case.main()
