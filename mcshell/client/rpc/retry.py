"""Asking the same again: what an earlier request asked, as arguments for the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcshell.ddl import REDACTED
from mcshell.errors import InputError
from mcshell.message import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcshell.client.store.records import RequestRecord

__all__ = ["NOT_WELL", "inputs_again"]

#: The states of targets that are worth asking again.
NOT_WELL = (State.FAILED, State.DENIED, State.INTERRUPTED, State.SILENT, State.EXPIRED)


def inputs_again(record: RequestRecord, given: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a request, with those that are `given` in their place.

    Raises:
        InputError: an input was not kept because it is secret, and is not given.
    """
    inputs = {**record.data, **given}
    for name, value in inputs.items():
        if value == REDACTED:
            raise InputError(
                f"retry: input {name} is secret and was not kept: give it again", name, 3
            )
    return inputs
