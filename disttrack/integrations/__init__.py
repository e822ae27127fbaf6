"""Hooks into other people's frameworks, each started by the argument of init that names it (api.hooks).

In: a run, and a framework that is installed. Out: rows and files of that run. What goes wrong in here is said once and
costs the run nothing else.
"""
