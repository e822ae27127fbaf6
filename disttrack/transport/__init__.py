"""Between a rank and its writer: messages as pure functions, finding each other, the two socket loops.

In: journal bytes and a Join. Out: the same bytes at the writer, and cumulative acknowledgements back.
On failure: the sender looks again, for ever, and the journal keeps what was not acknowledged; nothing
here raises into training. Called by api (sender) and writer (receiver). The only room that knows zmq.
"""
