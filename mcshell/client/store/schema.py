"""The tables of a session file, version by version; `mcshell.sqlite` brings an older one up.

`targets` is the ledger: one row a target (and a stranger), as `ledger.step` left it. `counts` has
the number of targets in each state, so that a long history is listed without reading it. `jobs`
has the documents of jobs that were handed in, `runs` which requests are runs of them. `plans` and
`accepted` were made when they were needed first, until version 4. `digests` says which bytes were
signed about a request, for one target or for any (`*`): what a reply may answer. They outlive the
bytes. `reissued` has the ids of version 1 under which requests were kept that went out under new ones.
`secrets` are the requests whose bytes hold inputs that are forgotten once they are needed no more.
`unverified` says what an imported file could not prove: a request (`*`), or a target of it.
`strays` are verified replies that no request of the file asked for; `requests.options` is how one was
put, as JSON.
"""

from __future__ import annotations

from typing import Final

from mcshell.errors import ClientClosed
from mcshell.sqlite import FileKind

__all__ = ["SESSION"]

_VERSION_3: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE requests (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, agent TEXT NOT NULL,
    action TEXT NOT NULL, via TEXT NOT NULL, collective TEXT NOT NULL,
    created REAL NOT NULL, expires REAL NOT NULL, filter TEXT NOT NULL, data TEXT NOT NULL,
    pool TEXT
);

CREATE TABLE targets (
    request TEXT NOT NULL, sender TEXT NOT NULL, place INTEGER NOT NULL, state TEXT NOT NULL,
    late INTEGER NOT NULL DEFAULT 0, duplicate INTEGER NOT NULL DEFAULT 0,
    unexpected INTEGER NOT NULL DEFAULT 0, sent REAL, received REAL, running REAL, done REAL,
    attempt INTEGER NOT NULL DEFAULT 1, reason TEXT NOT NULL DEFAULT '',
    sequence INTEGER, statuscode INTEGER, statusmsg TEXT, trust TEXT,
    worker TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (request, sender)
) WITHOUT ROWID;

CREATE TABLE counts (
    request TEXT NOT NULL, state TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (request, state)
) WITHOUT ROWID;

CREATE TABLE outgoing (
    request TEXT NOT NULL, sender TEXT NOT NULL, destination TEXT NOT NULL, body BLOB NOT NULL,
    signature TEXT NOT NULL, certificate INTEGER NOT NULL, confirmed REAL,
    PRIMARY KEY (request, sender)
) WITHOUT ROWID;
CREATE INDEX unconfirmed ON outgoing (request) WHERE confirmed IS NULL;

CREATE TABLE certificates (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);

CREATE TABLE replies (
    number INTEGER PRIMARY KEY AUTOINCREMENT, request TEXT NOT NULL, sender TEXT NOT NULL,
    sequence INTEGER NOT NULL, kept REAL NOT NULL, body BLOB NOT NULL, signature TEXT NOT NULL,
    certificate INTEGER NOT NULL, trust TEXT NOT NULL, UNIQUE (request, sender, sequence)
);

CREATE TABLE jobs (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, body BLOB NOT NULL,
    request TEXT NOT NULL
);

CREATE TABLE runs (
    number INTEGER PRIMARY KEY, request TEXT NOT NULL UNIQUE, job TEXT NOT NULL, run TEXT NOT NULL
);
"""

_VERSION_4: Final = """
CREATE TABLE IF NOT EXISTS plans (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    revision INTEGER NOT NULL, created REAL NOT NULL, body BLOB NOT NULL, signature TEXT NOT NULL,
    certificate TEXT NOT NULL, waves TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS accepted (
    plan TEXT NOT NULL, step TEXT NOT NULL, sender TEXT NOT NULL, said TEXT NOT NULL,
    caller TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (plan, step, sender)
);
"""

# What version 1 of the wire asked is answered by replies that name no digest: the empty one.
_VERSION_5: Final = """
CREATE TABLE digests (
    request TEXT NOT NULL, sender TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (request, sender, digest)
) WITHOUT ROWID;
INSERT OR IGNORE INTO digests SELECT request, '*', '' FROM outgoing;
INSERT OR IGNORE INTO digests
    SELECT o.request, CASE WHEN r.via IN ('broadcast', 'pool') THEN '*' ELSE o.sender END,
    sha256(o.body) FROM outgoing o JOIN requests r ON r.id=o.request;
INSERT OR IGNORE INTO digests SELECT id, '*', '' FROM jobs;
INSERT OR IGNORE INTO digests SELECT id, '*', sha256(body) FROM jobs;

CREATE TABLE reissued (former TEXT PRIMARY KEY, request TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE secrets (request TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE unverified (
    request TEXT NOT NULL, sender TEXT NOT NULL, PRIMARY KEY (request, sender)
) WITHOUT ROWID;
"""

_VERSION_6: Final = """
CREATE TABLE strays (
    number INTEGER PRIMARY KEY, request TEXT NOT NULL, job TEXT, sender TEXT NOT NULL,
    sequence INTEGER NOT NULL, durable INTEGER NOT NULL, kept REAL NOT NULL, body BLOB NOT NULL,
    signature TEXT NOT NULL, certificate TEXT NOT NULL, UNIQUE (request, sender, sequence)
);

ALTER TABLE requests ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
"""

# From here on bodies may be in a file beside it (`client.store.bodies`), which an earlier mcshell
# would not look into.
_VERSION_7: Final = ""

SESSION: Final = FileKind(
    name="session file",
    versions={3: _VERSION_3, 4: _VERSION_4, 5: _VERSION_5, 6: _VERSION_6, 7: _VERSION_7},
    # A body of 200 KB is a quarter of the pages, and of the calls that write them.
    pragmas=("page_size=16384",),
    shared=True,
    closed=ClientClosed,
)
