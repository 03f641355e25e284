"""``python -m benchmarks``: run every benchmark and print its table."""

from benchmarks import loading

if __name__ == "__main__":
    loading.main()
