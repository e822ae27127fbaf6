"""What the numbers of a run say about it: which rank is slow, and later what hangs and why it died.

In: arrays, by rank. Out: figures and findings as values. Pure functions: nothing is read, written or
remembered, and what cannot be told is left out instead of guessed. Called by query and cli.
"""
