"""Lists of nodes as people have them, for a fleet of web1, web2 and db1: bytes, and what is meant.

`names` is what it must come to; text instead is what the refusal must say. Other words stand in the
files (states, roles, other machines): none of them may ever be a target.
"""

from __future__ import annotations

import json

__all__ = ["FORMS"]

ALL = ["db1", "web1", "web2"]
WEB = ["web1", "web2"]
ROWS = [
    {"sender": "web1", "state": "ok", "peer": "mail7"},
    {"sender": "web2", "state": "silent", "peer": "mail8"},
]
DOCUMENT = {
    "request": {"id": "a1b2", "agent": "rpcutil"},
    "stats": {"targets": 2},
    "replies": [
        {"sender": row["sender"], "state": "ok", "data": {"peer": "mail7"}} for row in ROWS
    ],
}
INVENTORY = {
    "_meta": {"hostvars": {"web1": {"ansible_host": "mail7"}}},
    "all": {"children": ["ungrouped", "web"]},
    "web": {"hosts": ["web1", "web2"]},
}
BOMB = "a: &a [x1, x2]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)
)
ANSIBLE_YAML = """
all:
  vars: &common {ntp: mail7}
  children:
    web:
      hosts:
        web1: {ansible_host: 10.0.0.1}
        web2:
      vars: *common
    db: {hosts: {db1: {role: mail8}}}
"""
ANSIBLE_INI = """
[web]
web1 ansible_host=mail7 note='a mail8'
web2:2222

[db]
db1
[all:vars]
ntp=mail7
[mine:children]
web
"""
GENDERS = "web1 all,web,site=ams\nweb2 all,web\n"

FORMS: dict[str, tuple[bytes, list[str] | str]] = {
    # plain lists
    "one name a line": (b"web1\nweb2\n", WEB),
    "a last line without its end": (b"web1\nweb2", WEB),
    "a BOM and CRLF": (b"\xef\xbb\xbfWEB1\r\nweb2.\r\n\r\n", WEB),
    "case, last dots and white space": (b" WEB1 \n\tweb2.\nweb2\n", WEB),
    "comments of three kinds": (b"# web\nweb1  # spare\n;db1\n// mail7\nweb2\n", WEB),
    "nothing but a comment": (b"# nobody\n", "no names"),
    "nothing": (b"", "no names"),
    "one line, white space": (b"web1 web2\tdb1\n", ALL),
    "one line, commas": (b"web1,web2\n", WEB),
    "a set of nodes": (b"web[1-2]\n", WEB),
    "what fold has made": (b"db1,web[1-2]\n", ALL),
    "sets, a line each": (b"web[1,2]\ndb1\n", ALL),
    "a set without some": (b"web[1-9]!web[3-9]\n", WEB),
    "semicolons": (b"web1;web2\n", "line 1"),
    "two columns": (b"web1 up\nweb2 down\n", "line 1: 2 words"),
    "two columns, the second like names": (b"web1,mail7\nweb2,mail8\n", "line 1: 2 words"),
    "one row of a table of ours": (b"web1,ok,0,OK,0.01\n", "'ok' may be no name"),
    "one name and an address": (b"web1 10.0.0.1\n", "line 1"),
    "prose": (b"web1 is the machine that failed\n", "'is' may be no name"),
    "hosts(5)": (b"127.0.0.1\tlocalhost\n10.0.0.1\tweb1 mail7\n", "hosts(5)"),
    "hosts(5) of IPv6": (b"::1 ip6-localhost mail7\n", "hosts(5)"),
    "an option": (b"web1\n--yes\n", "line 2"),
    "somebody at a machine": (b"root@web1\n", "line 1"),
    "a port": (b"web1:22\n", "line 1"),
    "passwd(5)": (b"root:x:0:0:root:/root:/bin/sh\n", "line 1"),
    "group(5)": (b"mail7:x:8:\n", "line 1"),
    "a log": (b"2026-11-25 10:00:00 web1 mail7[12]: up\n", "line 1"),
    "what clush prints": (b"web1: mail7\nweb2: mail8\n", "line 1"),
    "what clush prints of words": (b"web1: up 3 days\nweb2: up\n", "line 1"),
    "environment": (b"HOST=mail7\n", "line 1"),
    "settings": (b"connector = rabbitmq\nhost = mail7\n", "line 1"),
    "a table for the eye": (b"sender  state\n------  -----\nweb1    ok\n", "line 1"),
    "a table of Markdown": (b"| sender | state |\n|---|---|\n| web1 | ok |\n", "line 1"),
    "colours": (b"web1\x1b[0m\nweb2\n", "line 1: 'web1\\x1b[0m'"),
    "an invisible letter": ("web1\u200b\n".encode(), "U+200B"),
    "a range too large": (b"web[1-9999999]\n", "more than 100,000"),
    "a name too long": (b"web1\n" + b"w" * 5000 + b"\n", "line 2"),
    "no group": (b"@nobody\n", "no group @nobody"),
    # no text
    "UTF-16": ("web1\nweb2\n".encode("utf-16"), "UTF-16"),
    "UTF-16 without a BOM": ("web1\n".encode("utf-16-le"), "line 1: a NUL byte"),
    "NUL between names": (b"web1\0web2\0", "line 1: a NUL byte"),
    "Latin-1": ("web1\nZürich\n".encode("latin-1"), "line 2: not UTF-8"),
    "a program": (b"\x7fELF\x02\x01\x01\0\0\0", "NUL byte"),
    # tables of ours
    "csv": (b"sender,state,peer\nweb1,ok,mail7\nweb2,silent,mail8\n", WEB),
    "csv, the sender last": (b"state,peer,sender\nok,mail7,web1\nok,mail8,web2\n", WEB),
    "csv, quoted": (b'sender,statusmsg\nweb1,"no, mail7\nmail8"\nweb2,\n', WEB),
    "csv of a spreadsheet": (b"\xef\xbb\xbfsender;state\r\nweb1;ok\r\nweb2;ok\r\n", WEB),
    "csv of one column": (b"sender\nweb1\nweb2\n", WEB),
    "tsv": (b"sender\tstate\nweb1\tok\nweb2\tok\n", WEB),
    "csv without a sender": (b"host,peer\nweb1,mail7\n", "line 1"),
    "csv with two senders": (b"sender,sender\nweb1,mail7\n", "line 1: several columns"),
    "csv with a short row": (b"sender,state\nweb1,ok\nweb2\n", "line 3: 1 columns"),
    "csv with a set for a name": (b"sender,count\nweb[1-2],2\n", "line 2"),
    "csv of a pool": (b"sender,state\npool:sms,pending\n", "line 2"),
    "csv with a quote left open": (b'sender,state\nweb1,"ok\nweb2,ok\n', "line 4"),
    "json rows": (json.dumps(ROWS).encode(), WEB),
    "json document": (json.dumps(DOCUMENT, indent=1).encode(), WEB),
    "jsonl": ("".join(f"{json.dumps(row)}\n" for row in ROWS).encode(), WEB),
    "jsonl, cut off": (json.dumps(ROWS[0]).encode() + b'\n{"sender": "mail7', "line 2: no JSON"),
    "json rows without a sender": (b'[{"host": "mail7"}]', "item 1"),
    "json names": (b'["web1", "WEB2"]', WEB),
    "json numbers": (b'["web1", 7]', "item 2"),
    "json, names in names": (b'["web1", ["mail7"]]', "item 2"),
    "json of anything": (b'{"hosts": "mail7"}', "line 1: JSON"),
    "json, deep": (b"[" * 50_000, "line 1"),
    # YAML
    "yaml list": (b"---\n- web1\n- web2\n", WEB),
    "yaml list without a start": (b"# mine\n- web1\n- web2\n", WEB),
    "yaml list in a line": (b"[web1, web2]\n", WEB),
    "yaml rows": (b"- sender: web1\n  peer: mail7\n- {sender: web2}\n", WEB),
    "yaml rows without a sender": (b"- host: mail7\n", "item 1"),
    "yaml hash by name": (b"web1:\n  role: mail7\nweb2:\n", "line 1: YAML"),
    "yaml bomb": (BOMB.encode(), "YAML"),
    "yaml with tabs": (b"- web1\n- a: b\n\tc: mail7\n", "line 3"),
    "yaml of our own configuration": (b"broker: {host: mail7}\nnode: {x: mail8}\n", "YAML"),
    # groups, genders, Ansible
    "clush groups": (b"all: web[1-2],db1\nweb: web1,web2\ndb: db1\n", ALL),
    "clush groups of groups": (b"web: web[1-2]\nmine: @web,db1\n", ALL),
    "clush groups as yaml": (b"roles:\n  web: web[1-2]\n  db: [db1]\n  mine: '@web'\n", ALL),
    "genders": (GENDERS.encode(), WEB),
    "genders without a value": (b"web1 all,mail7\nweb2 all,mail8\n", "line 1"),
    "ansible ini": (ANSIBLE_INI.encode(), ALL),
    "ansible ranges": (b"[web]\nweb[1:2] ansible_user=mail7\n", WEB),
    "ansible, a # in quotes": (b"[web]\nweb1 password='a #b'  # c\nweb2\n", WEB),
    "ansible, a range that goes down": (b"[web]\nweb1\nweb[3:2]\n", "a range goes up"),
    "ansible, letters that go down": (b"[web]\nweb1\nweb[c:a]\n", "a range goes up"),
    "ansible, a range of no step": (b"[web]\nweb[1:2:0]\n", "a range goes up"),
    "ansible without a section": (b"web1 ansible_host=mail7\nweb2\n", WEB),
    "ansible yaml": (ANSIBLE_YAML.encode(), ALL),
    "ansible-inventory --list": (json.dumps(INVENTORY).encode(), WEB),
    "ini of something else": (b"[broker]\nurls = mail7\n", "line 2"),
    "toml": (b'[node]\nidentity = "mail7"\n', "line 2"),
    "a unit": (b"[Service]\nExecStart=mail7\n", "line 2"),
}
