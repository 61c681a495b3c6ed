"""What `help` says of the small languages inside a line: filters, times, rows."""

from __future__ import annotations

from typing import Final

__all__ = ["TOPICS"]

_FILTERS = """\
Whom a line is for. What is said twice must all be true; names in -I are one or the other.

  find -I web1 -I db[1-3]            names, and sets of them (ClusterShell's)
  find -I @web                       a group: [groups], clush's or Ansible's
  find -I /^web/                     names that match (RE2)
  find -F os.name=Debian             a fact; dots lead into it
  find -F "uptime_days>30"           = != < <= > >=, and =~ for a pattern
  find -F kernel=/^6[.]/             the same as =~
  find -C webserver                  a class (-C /^role/ matches)
  find -A package                    those that have the agent
  find -S "os.name=Debian and not (role=db or role=cache)"
  find -S "fstat('/etc/motd').size>0"  a data plugin's output

-S takes facts, classes and data plugins with and, or, not and brackets. Versions have the order of
versions (1.10 is above 1.9). Spaces, < > | ( ) want quotes: "..." or '...'.
`filter -F role=web` holds for every line to come, `filter --off` ends it.
"""

_TIMES = """\
Lengths: 10s, 1.5s, 5m, 1h30m, 24h, 7d, 2w; a bare number is seconds.

  ping -t 3
  rpc rpcutil ping --via queue --ttl 7d

When a job starts, in the zone of each node or that of --tz:

  job submit rpcutil ping --at "tomorrow 04:00"     also 04:00, "fri 22:30", +2h
  job submit rpcutil ping --at "2030-11-25 04:00" --tz Europe/Vienna
  job submit rpcutil ping --cron "0 4 * * 1"        minute hour day month weekday
  job submit rpcutil ping --every 6h --splay 30m    spread over half an hour

An earlier request, by when it was asked (your time):

  replies @yesterday
  replies package.status@7d                         the newest as of a week ago
  replies @2026-11-20T09:00
  rpc package status name=openssl --diff @7d        what has changed since then
"""

_ROWS = """\
Which rows a line shows. Counts and exit code stay those of all.

  rpc package status name=ufw --only installed=false
  rpc package status name=ufw --only 'state=ok and lag>2'
  ping --only state=silent
  rpc package status name=openssl --odd version     not what most have
  rpc package status name=openssl --fold version    those that have the same, as one line
  rpc process list --top 5 processes.rss_bytes      the largest
  rpc package status name=openssl --diff @7d        what has changed

--only is the language of filters over columns; a value that is missing is never true. Where rows go:

  ping | grep silent                                a command of your shell
  ping > hosts.csv                                  a file: csv tsv json jsonl md parquet xlsx, or a table
  ping >> log.csv                                   added to it
  rpc rpcutil ping --nodes _                        `_` is the nodes that were shown last
  sql select sender, lag from replies where lag > 0.02 and state = 'ok'

Behind `sql`, and behind -- of a command, | and > belong to the text: quote the query
(sql "..." > f.csv), or show the same again (replies > f.csv), to send it elsewhere.
"""

TOPICS: Final = {"filters": _FILTERS, "times": _TIMES, "rows": _ROWS}
