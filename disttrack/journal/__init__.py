"""Append-only checksummed files: the rank's outbox, read as `stored` from outside, and the segments of the run log.

In: encoded records (outbox), batches of them (segment). Out: the same bytes, found again whatever
died in between. On failure: a write that does not fit is undone and reported, a torn tail is
ignored, a damaged frame is skipped and named. Called by api, transport, writer and index.
"""
