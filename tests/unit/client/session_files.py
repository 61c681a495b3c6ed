"""Rows for session files: requests, signed messages and replies as their nodes gave them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcshell.client.store.records import OutgoingMessage, ReplyRecord, RequestRecord
from mcshell.message import Filter, Reply, ReplySequence, State, Via
from mcshell.wire.documents import strict_json

if TYPE_CHECKING:
    from mcshell.client.store.store import SessionStore

__all__ = ["asked", "body_of", "message", "said", "states", "synced"]

ID = "0123456789abcdef" * 2


def asked(number: int = 0, via: Via = Via.QUEUE, **more: object) -> RequestRecord:
    """A request, made at 100 s + its number and good until 200 s."""
    fields = {
        "id": f"{number:x}{ID[1:]}",
        "agent": "package",
        "action": "status",
        "via": via,
        "collective": "mcs",
        "created": 100.0 + number,
        "expires": 200.0,
        "filter": Filter(),
        "data": {"name": "openssl"},
    }
    return RequestRecord(**fields | more)


def message(request: RequestRecord, sender: str, body: bytes = b"") -> OutgoingMessage:
    """A signed message of a request to one target."""
    return OutgoingMessage(
        request=request.id,
        sender=sender,
        destination=f"/queue/{sender}",
        body=body or f"{request.id} {sender}".encode(),
        signature="s",
        certificate="c",
    )


def body_of(reply: Reply) -> bytes:
    """The bytes of a reply; nobody has signed them."""
    document = {
        "v": 2,
        "kind": "reply",
        "id": reply.requestid,
        "sender": reply.sender,
        "sequence": reply.sequence,
        "statuscode": reply.statuscode,
        "statusmsg": reply.statusmsg,
        "data": reply.data,
        "created": reply.created,
        "state": reply.state.value,
    }
    machine = {"machine": reply.machine} if reply.machine else {}
    return strict_json.dumps(document | machine)


def said(
    request: RequestRecord,
    sender: str,
    state: State = State.OK,
    kept: float = 150.0,
    **more: object,
) -> ReplyRecord:
    """What a node has said to a request, as the receiver keeps it; `target` is whose row it is about."""
    target = str(more.pop("target", sender))
    kind = {State.RECEIVED: ReplySequence.RECEIVED, State.RUNNING: ReplySequence.RUNNING}
    reply = Reply(
        **{
            "requestid": request.id,
            "sender": sender,
            "sequence": kind.get(state, ReplySequence.FINAL),
            "statuscode": None if state in kind else int(state is not State.OK),
            "statusmsg": state.value,
            "data": {},
            "created": 1.0,
            "state": state,
        }
        | more
    )
    return ReplyRecord(
        reply=reply,
        kept=kept,
        body=body_of(reply),
        signature="s",
        certificate="c",
        target=target,
    )


def states(store: SessionStore, request: RequestRecord) -> dict[str, str]:
    """How each target of a request stands."""
    return {entry.sender: entry.state.value for entry in store.entries(request.id)}


def synced(store: SessionStore) -> bool:
    """Whether the last commit was on the disk when it ended."""
    return bool(store._database.read("PRAGMA synchronous")[0][0] == 2)
