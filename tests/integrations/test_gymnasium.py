"""monitor_gym: what gymnasium's RecordVideo writes is kept as it is, at the step the run is at."""

from __future__ import annotations

from pathlib import Path

import disttrack
from tests.road.site import Site

#: The outside at its wall: a moviepy that writes the number of frames instead of an mp4, which would need ffmpeg.
MOVIEPY = """
class ImageSequenceClip:
    def __init__(self, frames, fps):
        self.frames = frames

    def write_videofile(self, path, logger=None):
        open(path, "w").write(f"{len(self.frames)} frames")
"""

TRAIN = """
import gymnasium
import numpy as np
import disttrack
from disttrack.api.hooks import start_hook


class Still(gymnasium.Env):
    render_mode = "rgb_array"
    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}
    observation_space = gymnasium.spaces.Discrete(2)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.left = 3
        return 0, {}

    def step(self, action):
        self.left -= 1
        return 0, 1.0, self.left == 0, False, {}

    def render(self):
        return np.zeros((4, 4, 3), np.uint8)


run = disttrack.init(project="p", id="a")
start_hook("monitor_gym", run)
env = gymnasium.wrappers.RecordVideo(Still(), "videos", episode_trigger=lambda episode: True, disable_logger=True)
for episode in range(2):
    env.reset()
    done = False
    while not done:
        _, reward, done, _, _ = env.step(0)
    run.log({"reward": reward})
env.close()
"""


def test_recorded_videos_are_media_of_the_step_they_end_at(tmp_path: Path) -> None:
    site = Site(tmp_path)
    package = tmp_path / "moviepy" / "video" / "io"
    package.mkdir(parents=True)
    (package / "ImageSequenceClip.py").write_text(MOVIEPY)
    site.python(site.script(TRAIN))
    with disttrack.Api(tmp_path) as api:
        rows = api.run("a").media("videos")
    assert [(row.kind, row.state, row.value["format"], row.value["fps"]) for row in rows] == [
        ("video", "stored", "mp4", 30)
    ] * 2
    recorded = sorted((tmp_path / "videos").glob("*.mp4"))
    assert [row.file.read_text() for row in rows if row.file is not None] == [path.read_text() for path in recorded]


def test_a_framework_that_is_not_there_is_said_and_costs_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    script = site.script(
        """
        import sys
        import disttrack
        from disttrack.api.hooks import start_hook

        sys.modules["gymnasium"] = None  # as where it is not installed
        run = disttrack.init(project="p", id="a")
        start_hook("monitor_gym", run)
        run.log({"loss": 1.0})
        """
    )
    assert "monitor_gym=True has no effect" in site.python(script)
    assert site.only_run()["receipt"]["stored"] == 1
