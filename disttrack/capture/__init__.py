"""What can be found out about a process, its program and its host, and copies of what it prints.

In: the process itself and its streams, /proc, a git repository, the drivers of devices. Out: plain values, and text
as it was printed. On failure: what cannot be found out is left out; nothing here raises for it, nothing that a
repository configures is executed, and torch is not imported. Called by api and writer, never in a training thread.
"""
