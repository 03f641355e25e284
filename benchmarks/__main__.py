"""``python -m benchmarks``: run every benchmark and print its table."""

from benchmarks import engine, loading, mosaic

if __name__ == "__main__":
    for case in (loading, engine, mosaic):
        print(f"\n{case.__doc__.splitlines()[0]}")
        case.main()
