"""Enrolment: how a machine comes to its certificate, while its key stays where it was born.

`service` is the CA's side: tokens, requests, who is signed and who waits for a hand. `machine` is the
other: it makes the key, asks, and takes only the answer that its token vouches for. What goes between
them is `mcshell.wire.documents.enrolment`.
"""
