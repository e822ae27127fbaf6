"""What `disttrack ui` serves: the page, and the runs of one root as JSON, float32 frames and a stream of events.

In: HTTP requests of whoever holds the server's token, and one query.Reader. Out: the answers of docs/api.md. Nothing
is computed or stored here that query does not compute or store: no SQL, no state but the token and what a stream of
events has told. What cannot be asked or read is answered with a reason, never with half of it; a failure of ours is a
500 with an entry in the log. Called by cli; runs in a process of its own, never in a rank.
"""
