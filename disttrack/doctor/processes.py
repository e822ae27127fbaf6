"""The writers and agents of this node: who runs, who answers, whom they hear, and whether agents reach their writer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from disttrack.doctor.findings import Finding, Surroundings, failed, good, warning
from disttrack.doctor.launches import Launch, launches
from disttrack.doctor.patience import gather
from disttrack.environments.host import process_state
from disttrack.environments.sockets import listening
from disttrack.transport.protocol import PROTOCOL_VERSION
from disttrack.transport.questions import ask
from disttrack.transport.rendezvous import Claimed, Record
from disttrack.transport.status import LinkStatus, MemberStatus, Status

__all__ = ["check_processes"]

LIMIT_S = 4.0
ANSWER_S = 2.0
REPLACED_S = 5.0  # P2: a dead writer or agent is replaced within this
LOOK_S = 0.1
SILENT_S = 15.0  # a rank pings every 5 s (transport.sender), an agent every 2 s (writer.relay)
DECIDED_S = 15.0
LINKED_S = 6.0  # an agent gives each address of the writer so long (writer.relay)
RECENT_S = 15.0  # ranks ask again every few seconds, so that what goes wrong still does is complained of again
NOTHING_LOST = "nothing is lost: ranks keep their records in their journals"


def check_processes(around: Surroundings) -> Iterator[Finding]:
    """Ask each process how it is; tell of ranks that have none."""
    if around.runtime is None:
        return
    found = launches(around.runtime)
    running = [launch for launch in found if launch.has_process]
    orphaned = [launch for launch in found if launch.live and not launch.has_process]
    for gathered in gather([partial(_asked, launch) for launch in running], LIMIT_S):
        yield from gathered.items
        if gathered.error is not None:
            raise gathered.error
    yield from _without_process(around.runtime, orphaned)
    if not running and not orphaned:
        over = sum(1 for launch in found if launch.claim is not None)
        rest = f"; {over} earlier launch{'' if over == 1 else 'es'} left notes for their successors" if over else ""
        yield good("processes.none", f"no rank runs on this node, and no process of disttrack{rest}", left=over)


def _record(launch: Launch) -> Record:
    assert launch.claim is not None
    assert launch.claim.record is not None
    return launch.claim.record


def _asked(launch: Launch) -> Iterator[Finding]:
    """Ask the process of a launch."""
    record = _record(launch)
    answer = ask(record.address, ANSWER_S)
    facts: dict[str, object] = {"launch_key": launch.key, "pid": record.pid, "address": record.address}
    if answer is None:
        yield _silent(launch, record, facts)
        return
    status = answer.status
    yield good(
        "processes.answers",
        f"{_named(status)} (pid {status.pid}) of {launch.title} answers in {1000 * answer.took_s:.0f} ms"
        f"{_serves(status)}; {_heard(status.members)}",
        **facts,
        took_s=answer.took_s,
        **_told(status),
    )
    if status.protocol != PROTOCOL_VERSION:
        yield failed(
            "processes.version",
            f"it speaks protocol {status.protocol}, this disttrack {PROTOCOL_VERSION}",
            "use one version of disttrack on all nodes, from the next launch on",
            **facts,
        )
    yield from _part(status, facts)
    yield from _trouble(launch, status, facts)


def _silent(launch: Launch, record: Record, facts: dict[str, object]) -> Finding:
    state = process_state(record.pid)
    what = f"process {record.pid} of {launch.title} runs, but does not answer within {ANSWER_S:g} s"
    log = "" if launch.claim is None else f"; its log is {launch.claim.log}"
    if state in ("T", "t"):
        why, fix = "it was stopped (SIGSTOP)", f"kill -CONT {record.pid}; {NOTHING_LOST}"
    elif state == "D":
        why, fix = "it waits for a disk", f"see whether the file system of the runs answers; {NOTHING_LOST}"
    else:
        fix = f"kill -9 {record.pid}: its ranks start another one, and {NOTHING_LOST}{log}"
        why = "it is busy, hangs, or is of another version of disttrack"
    return failed("processes.answers", f"{what}: {why}", fix, **facts, state=state)


def _named(status: Status) -> str:
    return {"writer": "the writer", "agent": "the agent", "undecided": "the process"}[status.part]


def _serves(status: Status) -> str:
    """Return the runs that are written now."""
    runs = sorted({member.run_id for member in status.members if member.run_id is not None and not member.over})
    return f"; run{'' if len(runs) == 1 else 's'} {', '.join(runs)}" if runs else ""


def _heard(members: tuple[MemberStatus, ...]) -> str:
    """Return how many ranks it serves, and which it has not heard of for longest."""
    ranks = [member for member in members if member.role in ("rank", "claimant")]
    active = [(member.heard_s, member.rank) for member in ranks if not member.over and member.heard_s is not None]
    over = sum(member.over for member in ranks)
    text = f"{len(ranks)} rank{'' if len(ranks) == 1 else 's'}"
    if over:
        text += f", {over} of them ended"
    if active:
        longest_s, rank = max(active)
        text += f", each heard within {longest_s:.1f} s" if longest_s <= SILENT_S else f", rank {rank} silent"
    return text


def _told(status: Status) -> dict[str, object]:
    """Return a status as plain values."""
    return {
        "part": status.part,
        "host": status.host,
        "age_s": status.age_s,
        "term": status.term,
        "meeting": status.meeting or None,
        "meeting_answers": status.meeting_answers,
        "runs": sorted({member.run_id for member in status.members if member.run_id is not None}),
        "ranks": [
            {
                "rank": member.rank,
                "role": member.role,
                "run": member.run_id,
                "host": member.host,
                "pid": member.pid,
                "over": member.over,
                "heard_s": member.heard_s,
                "stored_bytes": member.stored,
            }
            for member in status.members
            if member.role != "node"
        ],
        "nodes": [{"host": node.host, "heard_s": node.heard_s} for node in status.nodes],
        "linked": None if status.link is None else status.link.linked,
        "endpoints": list(status.endpoints),
        "pending_bytes": status.pending_bytes,
        "refused": status.refused,
    }


def _part(status: Status, facts: dict[str, object]) -> Iterator[Finding]:
    for member in status.members:
        if not member.over and member.role in ("rank", "claimant") and (member.heard_s or 0.0) > SILENT_S:
            yield warning(
                "processes.rank_silent",
                f"rank {member.rank} (pid {member.pid} on {member.host}) has said nothing for {member.heard_s:.0f} s: "
                "it was stopped, its interpreter is held, or its node cannot be reached",
                f"py-spy dump --pid {member.pid}",
                **facts,
                rank=member.rank,
                heard_s=member.heard_s,
            )
    for node in status.nodes:
        if node.heard_s > SILENT_S:
            yield failed(
                "processes.node_silent",
                f"node {node.host} has not been heard of for {node.heard_s:.0f} s",
                f"disttrack doctor on {node.host} says what is in the way; {NOTHING_LOST}",
                **facts,
                node=node.host,
                heard_s=node.heard_s,
            )
        else:
            text = f"node {node.host} is heard ({node.heard_s:.1f} s ago)"
            yield good("processes.node", text, **facts, node=node.host, heard_s=node.heard_s)
    if status.link is not None:
        yield _link(status.link, facts)
    if status.part == "undecided" and status.members:
        waited_s = max(member.heard_s or 0.0 for member in status.members)
        where = status.meeting or "no place to meet is known"
        text = f"it has not found its launch's writer for {waited_s:.0f} s ({where})"
        if waited_s < DECIDED_S:
            yield warning("processes.undecided", text, **facts)
        else:
            fix = f"see below whether that place answers; rank 0's node must reach it; {NOTHING_LOST}"
            yield failed("processes.undecided", text, fix, **facts)


def _link(link: LinkStatus, facts: dict[str, object]) -> Finding:
    told = {"linked": link.linked, "since_s": link.since_s, "endpoint": link.endpoint, "writer_host": link.host}
    if link.linked:
        text = f"linked to the writer on {link.host} ({link.endpoint}) for {link.since_s:.0f} s"
        return good("processes.link", text, **facts, **told)
    who = f"the writer on {link.host} ({link.endpoint or 'no port'})" if link.host else "its writer"
    if link.since_s < LINKED_S:
        return warning("processes.link", f"not linked to {who} yet: {link.why}", None, **facts, **told, why=link.why)
    reach = f"let this node reach {link.endpoint}: cable, route, firewall" if link.endpoint else "see where nodes meet"
    return failed(
        "processes.link",
        f"not linked to {who} for {link.since_s:.0f} s: {link.why}",
        f"{reach}; {NOTHING_LOST}",
        **facts,
        **told,
        why=link.why,
    )


def _trouble(launch: Launch, status: Status, facts: dict[str, object]) -> Iterator[Finding]:
    for complaint in status.complaints:
        told = {**facts, "complaint": complaint.text, "ago_s": complaint.ago_s}
        if complaint.ago_s <= RECENT_S:
            log = "" if launch.claim is None else f"{launch.claim.log} has the rest; "
            text = f"it complains, {complaint.ago_s:.0f} s ago: {complaint.text}"
            yield failed("processes.complains", text, f"mend what it names; {log}{NOTHING_LOST}", **told)
        else:
            ago = f"{complaint.ago_s:.0f} s ago"
            yield warning("processes.complained", f"it complained {ago}, not since: {complaint.text}", **told)
    if status.refused:
        yield warning(
            "processes.refused",
            f"it refused {status.refused} connections or messages that were none of its launch's",
            "somebody scans ports, or a node has another job key or version",
            **facts,
            refused=status.refused,
        )
    bound = listening(status.pid)
    meant = {endpoint.removeprefix("tcp://") for endpoint in status.endpoints}
    if bound or meant:
        anywhere = [address for address in bound if address.startswith(("0.0.0.0:", "[::]:"))]
        text = f"it listens on {', '.join(bound) or 'nothing'}, encrypted, for the nodes of its launch alone"
        told = {**facts, "bound": bound, "announced": sorted(meant)}
        if anywhere:
            yield warning("access.ports", f"{text}: on every network of this node", None, **told)
        else:
            yield good("access.ports", text, **told)
    else:
        yield good("access.ports", f"process {status.pid} listens on no port", **facts, bound=[], announced=[])


def _without_process(runtime: Path, orphaned: list[Launch]) -> Iterator[Finding]:
    """Tell of ranks that run without a writer or agent, unless one comes within the time it may take."""
    deadline = time.monotonic() + REPLACED_S
    waiting = orphaned
    while waiting and time.monotonic() < deadline:
        time.sleep(LOOK_S)
        keys = {launch.key for launch in waiting}
        waiting = [found for found in launches(runtime) if found.key in keys and found.live and not found.has_process]
    keys = {launch.key for launch in waiting}
    for launch in orphaned:
        ranks = ", ".join(str(join.rank.rank) for join in launch.live[:8])
        facts: dict[str, object] = {"launch_key": launch.key, "ranks": [join.rank.rank for join in launch.live]}
        if launch.key not in keys:
            yield good(
                "processes.replaced", f"the process of {launch.title} (rank {ranks}) has just been started", **facts
            )
            continue
        yield failed(
            "processes.missing",
            f"rank {ranks} of {launch.title} runs on this node without a writer or agent{_last_words(launch.claim)}",
            f"see whether a Python process can start here (memory, ulimit -u); {NOTHING_LOST}",
            **facts,
        )


def _last_words(claim: Claimed | None) -> str:
    if claim is None or not claim.said:
        return ""
    return f"; {claim.log} ends with: {claim.said.splitlines()[-1]}"
