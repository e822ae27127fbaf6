"""What a run says of itself in a rank: its id and labels, where its data lies, and this rank's place in it."""

from __future__ import annotations

import difflib
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from disttrack.api.attach import helper_recorder
from disttrack.api.receipt import Receipt
from disttrack.api.recorder import Recorder
from disttrack.environments.files import make_directory, make_root
from disttrack.journal.outbox import Outbox
from disttrack.records.names import directory_name
from disttrack.records.payloads import LabelUpdate, Payload
from disttrack.records.types import Join, changed
from disttrack.records.values import text
from disttrack.settings import Settings, check_tags
from disttrack.transport.protocol import Welcome

__all__ = ["RunIdentity"]

ID_WAIT_S = 10.0
MAX_LABEL = 10_000  # characters of a name or of notes

_RENAMED = {  # what other trackers' runs have, or had
    "get_url": "run.url",
    "get_project_url": "run.project_url",
    "project_name": "run.project",
    "mode": "run.settings.mode",
    "join": "run.finish()",
    "run_id": "run.id",
    "log_metric": "run.log({name: value})",
    "log_params": "run.config.update(values)",
}


class RunIdentity:
    """The side of Run that tells: what is known at once, and what the writer has to say of it."""

    def __init__(self, settings: Settings, join: Join, recorder: Recorder | None, *, enabled: bool) -> None:
        self._settings = settings
        self._join = join
        self._recorder = recorder
        self._pid = os.getpid()
        self._enabled = enabled
        self._ended = False  # nothing is accepted any more
        self._receipt: Receipt | None = None  # of finish()
        self._directory: str | None = None
        self._joining = threading.RLock()  # one thread of a forked child makes its journal
        self._id: str | None = join.given_id
        self._labels = LabelUpdate()  # as set since init
        self._starting_step = recorder.step if recorder is not None else 0
        self.start_time = join.time_us / 1e6

    # The journal that takes what is said

    def _recording(self) -> Recorder | None:
        """Return what writes this process's journal, a forked child's own one; None where the run is disabled."""
        return self._recorder or self._become_helper()

    def _become_helper(self) -> Recorder | None:
        """Give a forked child a journal of its own; None where the run is disabled."""
        with self._joining:
            if self._recorder is None and self._enabled and not self._ended:
                self._attach()
        return self._recorder

    def _attach(self) -> None:
        helper = helper_recorder(Path(self._join.journal), self._settings)
        self._pid = os.getpid()
        if helper is None:
            self._enabled = False
        else:
            self._recorder, self._join = helper

    def _outbox(self) -> Outbox | None:
        return self._recorder.outbox if self._recorder is not None else None

    def _say(self, payload: Payload) -> None:
        recorder = self._recording()
        if recorder is not None:
            recorder.say(payload)

    # The run

    def _known_id(self) -> str:
        """Return the run's id as far as it is known, without waiting."""
        sender = self._recorder.sender if self._recorder is not None else None
        welcome = sender.welcome if sender is not None else None
        return self._id or (welcome.run_id if welcome is not None else self._join.own_id)

    def _welcome(self) -> Welcome | None:
        """Return the writer's word on this rank, after at most ID_WAIT_S; None if none came or it is disabled."""
        recorder = self._recording()
        if recorder is None or recorder.sender is None:
            return None
        if recorder.sender.welcome is None and self._receipt is None:
            recorder.sender.hurry()
            if not recorder.sender.welcomed.wait(ID_WAIT_S):
                self._id = self._id or self._join.own_id  # from now on; it stays an alias of the run for ever
        return recorder.sender.welcome

    @property
    def id(self) -> str:
        """The run's id, the same in all its ranks. Waits at most 10 s for the writer, then is an alias of it."""
        if self._id is None:
            welcome = self._welcome()
            self._id = welcome.run_id if welcome is not None else self._join.own_id
        return str(self._id)

    @property
    def name(self) -> str:
        """The run's name: set, given, or adjective-noun-number. Setting it stores it; a person's edit beats it."""
        given = self._labels.name if self._labels.name is not None else self._join.name
        if given is not None:
            return given
        welcome = self._welcome()
        return welcome.name if welcome is not None else self.id

    @name.setter
    def name(self, name: str) -> None:
        self._relabel("name", name, _label)

    @property
    def notes(self) -> str | None:
        """The notes. Setting them stores them, "" clears them; a person's edit beats them."""
        notes = self._labels.notes if self._labels.notes is not None else self._join.notes
        return notes or None

    @notes.setter
    def notes(self, notes: str | None) -> None:
        self._relabel("notes", notes, lambda value: "" if value is None else _label(value))

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags. Setting them replaces all that the program gave (a str is one tag); those of people stay."""
        return self._labels.tags if self._labels.tags is not None else self._join.tags

    @tags.setter
    def tags(self, tags: Sequence[str] | str | None) -> None:
        self._relabel("tags", tags, lambda value: () if value is None else check_tags(value))

    def _relabel(self, label: str, value: Any, checked: Callable[[Any], Any]) -> None:
        """Store a label; one that is none is left out and said, for nothing raises into training."""
        try:
            update = LabelUpdate(**{label: checked(value)})
        except Exception as error:  # also of the value's own methods
            self._complain(f"run.{label} stays as it is: {error}")
            return
        if not self._ended:
            self._labels = changed(self._labels, **{label: getattr(update, label)})
        self._say(update)

    def _complain(self, why: str) -> None:
        """Say once what is wrong with a call; raise ValueError if the settings are strict."""
        recorder = self._recording()
        if recorder is not None:
            recorder.complain(why)

    @property
    def project(self) -> str:
        """The project."""
        return self._join.project

    @property
    def entity(self) -> str | None:
        """The user or team that owns the run, as given."""
        return self._join.entity

    @property
    def path(self) -> str:
        """`project/id`, with the entity before it where there is one: what `disttrack show` and Api.run take."""
        return "/".join(part for part in (self.entity, self.project, self.id) if part)

    @property
    def url(self) -> str | None:
        """The run's page on a server; None where no server is involved."""
        return None

    @property
    def project_url(self) -> str | None:
        """The project's page on a server; None where no server is involved."""
        return None

    @property
    def sweep_id(self) -> str | None:
        """The sweep that this run is a trial of; None where it is none."""
        return None

    @property
    def sweep_url(self) -> str | None:
        """The sweep's page on a server; None where there is none."""
        return None

    @property
    def group(self) -> str | None:
        """The group: given, or the one generated for a distributed launch; None for one process by itself."""
        if self._join.group is not None:
            return self._join.group
        welcome = self._welcome()
        return welcome.group if welcome is not None else None

    @property
    def attempt(self) -> int:
        """Which try of the run this is, from 0."""
        welcome = self._welcome()
        return welcome.attempt if welcome is not None else 0

    @property
    def resumed(self) -> bool:
        """Whether this goes on with a run that had an attempt before: resumed, requeued or restarted."""
        return self.attempt > 0

    @property
    def settings(self) -> Settings:
        """The settings in force. They cannot be changed any more."""
        return self._settings

    @property
    def sync_dir(self) -> str:
        """The run's directory: its log, media and files. On other nodes than the writer's it need not be there."""
        return str(Path(self._join.root) / directory_name(self.project) / directory_name(self.id))

    @property
    def dir(self) -> str:
        """A directory for files beside the run's log, made when it is first asked for.

        Where nothing is written (mode="disabled"), or it cannot be made, a temporary one.
        """
        if self._directory is None:
            self._directory = self._made_directory()
        return self._directory

    def _made_directory(self) -> str:
        run = Path(self.sync_dir)
        if self._enabled:
            try:
                make_root(run.parent.parent, shared=self._settings.shared)
                for directory in (run.parent, run, run / "files"):
                    make_directory(directory)
            except OSError as error:
                self._complain(f"run.dir is a temporary directory, because none can be made in {run}: {error}")
            else:
                return str(run / "files")
        return tempfile.mkdtemp(prefix="disttrack-")

    # This rank

    @property
    def job_type(self) -> str | None:
        """This process's own job type: `rank-3` in a distributed launch, else what was given."""
        return self._newest_join().rank_job_type

    @property
    def rank(self) -> int:
        """This process's rank as far as it is known now."""
        return self._newest_join().rank.rank

    @property
    def world_size(self) -> int:
        """How many ranks the launch has, as far as it is known now."""
        return self._newest_join().rank.world_size

    @property
    def local_rank(self) -> int | None:
        """The rank within this node, where the launcher tells."""
        return self._newest_join().rank.local_rank

    @property
    def node(self) -> str:
        """The host name of this node, as `disttrack show` names it."""
        return self._join.host

    def _newest_join(self) -> Join:
        sender = self._recorder.sender if self._recorder is not None else None
        return sender.join if sender is not None else self._join

    @property
    def step(self) -> int:
        """The step the next row gets if none is named."""
        return self._recorder.step if self._recorder is not None else 0

    @property
    def starting_step(self) -> int:
        """The step at which this rank began."""
        return self._starting_step

    @property
    def disabled(self) -> bool:
        """Whether nothing is written (mode="disabled")."""
        return not self._enabled

    @property
    def offline(self) -> bool:
        """Whether nothing is sent to a server (mode="offline")."""
        return self._settings.mode == "offline"

    @property
    def finished(self) -> bool:
        """Whether finish() was called, or end()."""
        return self._ended

    def __getattr__(self, name: str) -> NoReturn:
        """Say what is near an attribute that is not there."""
        mend = ""
        if name in _RENAMED:
            mend = f" Use {_RENAMED[name]}."
        elif not name.startswith("_"):
            near = difflib.get_close_matches(name, [known for known in dir(self) if known[0] != "_"], n=3)
            mend = f" Did you mean {' or '.join(near)}?" if near else ""
        raise AttributeError(f"A run has no attribute {name!r}.{mend}")


def _label(value: Any) -> str:
    """Return a text as a label; raise TypeError or ValueError where it is none."""
    if not isinstance(value, str):
        raise TypeError(f"it must be a str, not {type(value).__name__}")
    if len(value) > MAX_LABEL:
        raise ValueError(f"it has {len(value):,} characters, more than {MAX_LABEL:,}")
    return text(value).replace("\0", "")
