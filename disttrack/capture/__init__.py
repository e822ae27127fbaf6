"""What can be found out about a process, its program and its host.

In: the process itself, /proc, a git repository, the drivers of devices. Out: plain values, for records. On failure:
what cannot be found out is left out; nothing here raises for it. Called by api and writer, never in a training thread.
"""
