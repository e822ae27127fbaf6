"""What is asked of runs: lists of them, one of them in detail, its series, its ranks side by side.

In: a root, and the index over it. Out: frozen rows, iterators and arrays; times are unix seconds. Every
answer catches the index up first. On failure: RunNotFound, FilterError for a filter that cannot be read, or
UnsupportedFormat for a run that a newer disttrack wrote; what a damaged log lost is missing from the answer,
the rest of it is there. Called by cli, exchange and server, and by users as disttrack.Api.
"""
