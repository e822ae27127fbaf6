"""The node's one process: takes ranks' records, appends them to run logs, sees how each rank ends.

In: messages of ranks, journals of dead ones. Out: run-log segments, and acknowledgements after they
are on disk. On failure: crash-only; nothing depends on a clean exit, and the next writer goes on from
what the log says. Started by transport (rendezvous.start_writer); cli calls homecoming.
"""
