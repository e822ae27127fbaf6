"""Runs in the formats of other programs.

In: what query yields. Out: files that others read (tables: Parquet). On failure: UsageError where a library of the
extra `data` is not installed, with the command that installs it; who opens the file sees to it that no half of one is
left. Called by cli, and later by server.
"""
