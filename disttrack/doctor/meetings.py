"""The places where nodes meet, and the writers announced there: do they answer, and may this node speak to them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from disttrack.doctor.clocks import compared
from disttrack.doctor.findings import Finding, Surroundings, failed, good, warning
from disttrack.doctor.launches import launches
from disttrack.doctor.patience import gather
from disttrack.doctor.place import in_launch
from disttrack.environments.host import node_id
from disttrack.environments.variables import is_of_group
from disttrack.transport.meeting import Address, Visit, visit
from disttrack.transport.questions import ask_over, connection_error

__all__ = ["check_meetings"]

LIMIT_S = 8.0
CONNECT_S = 1.5
ANSWER_S = 2.0
SLOW_S = 1.0  # torch's store looks up the peer's name for each new connection, on its only thread


def check_meetings(around: Surroundings) -> Iterator[Finding]:
    """Visit the places of this process's launch and of those that live on this node, and the writers found there."""
    own = (around.identity.meeting, around.root)
    found = launches(around.runtime) if around.runtime is not None else []
    meetings = {meeting for launch in found if launch.has_process or launch.live for meeting in launch.meetings}
    if in_launch(around) and own[0]:
        meetings.add(own)
    if not meetings:
        yield good("meeting.none", "no launch on this node has others to meet")
    sources = [
        partial(_meeting, around, meeting, root, awaited=(meeting, root) == own) for meeting, root in sorted(meetings)
    ]
    for gathered in gather(sources, LIMIT_S):
        yield from gathered.items
        if gathered.error is not None:
            raise gathered.error


def _meeting(around: Surroundings, meeting: str, root: Path, *, awaited: bool) -> Iterator[Finding]:
    """Visit the places that a meeting names. awaited: it is that of this process's own launch."""
    visits: list[Visit] = []
    for place in visit(meeting, root):
        visits.append(place)
        if place.trouble is not None and len(visits) == 1 and is_of_group(meeting):
            yield warning(
                "meeting.answers",
                f"{place.place} does not answer: {place.trouble}. It does once rank 0 makes a process group there",
                f"where none is made, give the nodes a shared directory: they meet in a file of {root}",
                place=place.place,
                took_s=place.took_s,
            )
            continue
        yield _place(place, best=len(visits) == 1, awaited=awaited and in_launch(around))
    known = [place.notice for place in visits if place.notice is not None]
    if known:
        writer = max(known, key=lambda notice: (notice.rounds, notice.term)).writer
        if writer is not None and (around.runtime is None or writer.node != node_id(around.runtime)):
            yield from _writer(writer)


def _place(place: Visit, *, best: bool, awaited: bool) -> Finding:
    facts = {"place": place.place, "took_s": place.took_s}
    is_store = place.place.startswith("tcp://")
    if place.trouble is not None and best:
        fix = f"let this node reach {place.place}: MASTER_ADDR, route, firewall" if is_store else "mend that directory"
        text = f"{place.place} does not answer: {place.trouble}"
        # Once all have met, a store that is gone is missed only when the writer is.
        if awaited:
            return failed("meeting.answers", text, fix, **facts)
        return warning("meeting.answers", text, fix, **facts)
    if place.trouble is not None:
        return warning("meeting.answers", f"{place.place} cannot be read: {place.trouble}", **facts)
    if is_store and place.took_s > SLOW_S:
        return warning(
            "meeting.slow",
            f"{place.place} took {place.took_s:.1f} s to answer: each connection to it holds up the whole job so long",
            "its host looks up each peer's name: put the nodes into its /etc/hosts, or mend its DNS",
            **facts,
        )
    return good("meeting.answers", f"{place.place} answers in {1000 * place.took_s:.0f} ms: {_stands(place)}", **facts)


def _stands(place: Visit) -> str:
    if place.notice is None:
        return "no writer was announced there yet"
    writer = place.notice.writer
    if writer is None:
        return f"its writer has gone (term {place.notice.term})"
    where = ", ".join(writer.endpoints) or "of its own host only"
    key = "" if writer.credentials.job_key_id is None else ", with a job key"
    return f"the writer is on {writer.host}, {where} (term {place.notice.term}{key})"


def _writer(writer: Address) -> Iterator[Finding]:
    """Ask the writer on another node, as an agent of this node would; one of its addresses is enough."""
    if not writer.endpoints:
        text = f"the writer on {writer.host} listens once another node asks it to"
        yield good("meeting.writer", text, host=writer.host, endpoint=None)
    refused: list[Finding] = []
    for endpoint in writer.endpoints:
        found = list(_endpoint(writer, endpoint))
        if not any(finding.level == "failed" and finding.check == "meeting.writer" for finding in found):
            yield from found
            return
        refused += found
    yield from refused


def _endpoint(writer: Address, endpoint: str) -> Iterator[Finding]:
    facts: dict[str, object] = {"host": writer.host, "endpoint": endpoint}
    error = connection_error(endpoint, CONNECT_S)
    if error is not None:
        text = f"the writer's port {endpoint} on {writer.host} cannot be reached from this node: {error}"
        fix = f"let this node reach {endpoint}: cable, route, firewall between the nodes"
        yield failed("meeting.writer", text, fix, **facts)
        return
    try:
        answer = ask_over(writer, endpoint, ANSWER_S)
    except PermissionError as refusal:
        text = f"this node may not speak to the writer on {writer.host}"
        yield failed("meeting.writer", text, str(refusal), **facts)
        return
    if answer is None:
        yield failed(
            "meeting.writer",
            f"the writer's port {endpoint} on {writer.host} is open, but the writer does not answer",
            f"disttrack doctor on {writer.host} says why (stopped, busy, another version or key)",
            **facts,
        )
        return
    yield good(
        "meeting.writer",
        f"the writer on {writer.host} ({endpoint}) answers this node in {1000 * answer.took_s:.0f} ms, encrypted",
        **facts,
        took_s=answer.took_s,
    )
    yield compared("clocks.writer", f"the clock of the writer's node {writer.host}", answer.ahead_s, answer.took_s)
