"""Run logs in, tables out: a cache of every run below a root that can be deleted and rebuilt.

In: the segments of run logs, and the markers beside them. Out: what is known of each run and of each
of its sources (facts), and its rows as columnar blocks, from the index file and the live tail alike.
On failure: a damaged frame or record costs only itself and is counted; a busy, full or read-only
index leaves what is there; a run that changed under its name is read anew. Nothing here writes into
a run's directory. Called by query and server.
"""
