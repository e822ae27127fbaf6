"""From an environment to a rank and a launch.

In: plain mappings (os.environ, sys.modules) and /proc. Out: a Rank, a launch key, restart hints.
Nothing here imports torch or ray, touches the network, or raises on a strange environment: a row
that makes no sense is passed over and named. Called by api, transport, writer and cli.
"""
