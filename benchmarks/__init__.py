"""The numbers of disttrack, each beside a limit measured in the same run: `python -m benchmarks`.

A benchmark never fails: it says by how much it meets or misses its goal. docs/performance.md is its output.
"""
