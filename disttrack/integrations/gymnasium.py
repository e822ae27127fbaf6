"""Keeps the videos that gymnasium's RecordVideo writes, as they are: init(monitor_gym=True)."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from gymnasium.wrappers import RecordVideo

from disttrack.api.images import Video
from disttrack.api.run import Run

__all__ = ["KEY", "start"]

KEY = "videos"
_current: Run | None = None
_watched = False


def start(run: Run, value: object = True) -> None:
    """Log each video that is recorded from now on into this run, at the step it is at, as `videos`."""
    global _current, _watched
    _current = run
    if not _watched:
        _watched = True
        wrapper: Any = RecordVideo
        wrapper.stop_recording = _watching(wrapper.stop_recording)


def _watching(stop: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(stop)
    def stop_recording(self: Any) -> None:
        path = os.path.join(self.video_folder, f"{self._video_name}.mp4")
        frames, fps = len(self.recorded_frames), self.frames_per_sec
        stop(self)
        if frames and _current is not None and _current.is_ours():
            _current.log({KEY: Video(path, fps=fps)}, commit=False)

    return stop_recording
