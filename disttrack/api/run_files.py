"""The part of a Run that keeps files."""

from __future__ import annotations

import os
from collections.abc import Callable

from disttrack.api.keeping import Keeper

__all__ = ["RunFiles"]


class RunFiles:
    """What Run has for files."""

    _keeper: Keeper

    def save(
        self,
        glob_str: str | os.PathLike[str] | None = None,
        base_path: str | os.PathLike[str] | None = None,
        policy: str = "live",
    ) -> list[str]:
        """Keep files with the run, below its directory `files`; return their paths there.

        glob_str: a path or a glob pattern. Below base_path a file keeps its path; the default is the current
        directory, and for an absolute pattern the directory above the file's. policy: "now", "end" (as they are at
        finish()) or "live" (now, and again when they change). Nothing without a glob_str, or for what lies at gs:// or s3://.
        Raises UsageError (a ValueError) for another policy, and for files that are not below base_path.
        """
        return [] if glob_str is None else self._keeper.save(glob_str, base_path, policy)

    def log_code(
        self,
        root: str | os.PathLike[str] | None = ".",
        name: str | None = None,
        include_fn: Callable[..., bool] | None = None,
        exclude_fn: Callable[..., bool] | None = None,
    ) -> list[str] | None:
        """Keep the code below a directory with the run, in `files/code`; return the paths, None where there is none.

        include_fn, exclude_fn: say of a path (and if they like the root) whether it is kept; the default is *.py.
        Hidden directories, environments and runs are passed over. name: changes nothing.
        """
        return self._keeper.save_code("." if root is None else root, include_fn, exclude_fn) or None

    def keep_program(self) -> str | None:
        """Keep the script that runs, or the notebook, in `files/code`, as init(save_code=True); return its path."""
        return self._keeper.save_program()
