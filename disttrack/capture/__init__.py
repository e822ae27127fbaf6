"""What a run knows of itself: source, program, packages, host, devices, and what it prints.

In: a directory, a command line, the streams of this process. Out: plain values, and text as it was printed.
On failure: what cannot be found out is left out; nothing of a repository's own configuration is ever executed, and
nothing here imports torch. Called by the api, in threads of its own.
"""
