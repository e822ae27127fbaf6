"""What training code calls; runs inside every rank.

In: rows, config and summary values. Out: records in this process's journal, and a Receipt at the end.
On failure: init refuses what cannot be used; after that nothing here raises into or blocks training
(`log` only with strict=True): what cannot be kept is counted and said once. Called by the front door.
"""
