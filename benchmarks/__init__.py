"""Side-by-side measurements with peers: `python -m benchmarks` writes docs/benchmarks.md."""
