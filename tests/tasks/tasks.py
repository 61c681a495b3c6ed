"""The 25 tasks of an operator: the lines that the tests run, and that mcshell/README.md shows.

This list is the one place where they are written down. `python tests/tasks/tasks.py` writes the
table into the README again; a test asserts that it is there as it is made here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["README", "TASKS", "Task", "placed", "table"]

README = Path(__file__).resolve().parents[2] / "mcshell" / "README.md"
BEGIN, END = "<!-- tasks: made by tests/tasks/tasks.py -->\n", "<!-- end of the tasks -->\n"


@dataclass(frozen=True, slots=True)
class Task:
    """One task: our line at the prompt and in a notebook, and how it is said elsewhere.

    `cell` is None where the notebook's line is `%mco` and the prompt's. Elsewhere a text in
    brackets is a remark, not a line.
    """

    number: int
    title: str
    prompt: str
    mco: str
    salt: str
    ansible: str
    clush: str
    cell: str | None = None

    @property
    def notebook(self) -> str:
        """The notebook's line."""
        return f"%mco {self.prompt}" if self.cell is None else self.cell

    @property
    def name(self) -> str:
        """The variable in which the notebook's line leaves its result, else IPython's own."""
        name, assigned, _ = self.notebook.partition(" = ")
        return name if assigned and name.isidentifier() else "_"


TASKS = (
    Task(
        1,
        "who is up",
        "ping",
        "mco ping",
        "salt-run manage.up",
        "ansible all -m ping",
        "clush -ab echo up",
    ),
    Task(
        2,
        "who should be up and isn't",
        "ping --only state=silent",
        "mco rpc rpcutil ping --nodes all.txt",
        "salt-run manage.down",
        "ansible all -m ping -o | grep UNREACHABLE",
        "clush -a true",
    ),
    Task(
        3,
        "distribution of a fact",
        "facts site",
        "mco facts site",
        "salt '*' grains.get site --out=txt | cut -d: -f2 | sort | uniq -c",
        "(facts by host; counting them is a script)",
        "clush -ab cat /etc/site",
    ),
    Task(
        4,
        "a fact with sub-keys, two levels down",
        "facts os.release.major",
        "(only to filter: `-S \"fact('os.release.major').value=12\"`)",
        "salt '*' grains.get os:release:major",
        "(`setup`'s filter reaches the top level)",
        "clush -ab facter os.release.major",
    ),
    Task(
        5,
        "one node's inventory",
        "inventory web01",
        "mco inventory web01",
        "salt web01 grains.items",
        "ansible web01 -m setup",
        "clush -w web01 facter",
    ),
    Task(
        6,
        "version of a package everywhere, folded",
        "rpc package status name=openssl --fold version",
        "mco package openssl status",
        "salt '*' pkg.version openssl --out=txt | clubak -b",
        "ansible all -o -a \"dpkg-query -Wf '${Version}' openssl\"",
        "clush -ab dpkg-query -W openssl",
    ),
    Task(
        7,
        "nodes whose version differs from the majority",
        "rpc package status name=openssl -F role=web --odd version",
        "mco find -S \"!package('openssl').ensure=3.0.15-1\"",
        "(fold, and read)",
        "(a script)",
        "clush -a --diff dpkg-query -W openssl",
        cell="odd = %mco rpc package status name=openssl -F role=web --odd version",
    ),
    Task(
        8,
        "nodes where a package is missing",
        "rpc package status name=ufw -S 'role=web or role=db' --only installed=false",
        "mco find -S \"package('ufw').ensure=absent\"",
        "salt '*' pkg.version ufw --out=txt | grep ': *$'",
        "ansible all -m package -a 'name=ufw state=present' -C -o | grep CHANGED",
        'clush -aN "dpkg -s ufw >&- 2>&- || hostname"',
    ),
    Task(
        9,
        "update it there only",
        "rpc package update name=openssl --nodes _",
        "mco package openssl update -S \"!package('openssl').ensure=3.0.15-1\"",
        "salt -L web03,web07 pkg.install openssl",
        "ansible web03,web07 -b -m apt -a 'name=openssl state=latest'",
        "clush -w web[03,07] apt-get -y install openssl",
        cell='odd.mco.rpc("package", "update", name="openssl")',
    ),
    Task(
        10,
        "restart a service in batches of 10 %, stop at 3 failures",
        "rpc service restart name=chrony -S 'role=web or role=db' --batch 10% --max-failures 3",
        "mco service chrony restart --batch 10% (does not stop)",
        "salt '*' -b 10% --failhard service.restart chrony (stops at the first)",
        "(a playbook: `serial`, `max_fail_percentage`)",
        "clush -af 2 systemctl restart chrony (does not stop)",
        cell='df = client.rpc("service", "restart", name="chrony", where="role=web or role=db", '
        'batch="10%", max_failures=3).frame()',
    ),
    Task(
        11,
        "a canary first, then the rest",
        "rpc service restart name=nginx -F role=web --canary 1",
        "(two lines: `--limit 1`, then all)",
        "(two lines: `--subset=1`, then all)",
        "(a playbook: `serial: [1, 100%]`)",
        "(two lines: `--pick=1`, then all)",
    ),
    Task(
        12,
        "re-run on the failed and silent ones",
        "retry",
        "(by hand, from the output)",
        "(by hand, from the output)",
        "(playbooks only: `--limit @site.retry`)",
        "(by hand, from the output)",
        cell="df.mco.retry()",
    ),
    Task(
        13,
        "top 5 processes by memory over the fleet",
        "rpc process list --top 5 processes.rss_bytes",
        "(by node: `mco shell run 'ps axo rss,comm --sort=-rss | head -5'`)",
        "(by node: `salt '*' ps.top num_processes=5`)",
        "(by node: `-m shell -a 'ps axo rss,comm --sort=-rss | head -5'`)",
        "clush -a 'ps axho rss,comm --sort=-rss | head -5' | sort -rnk2 | head -5",
    ),
    Task(
        14,
        "checksum of a file everywhere, odd ones out",
        "rpc file checksum path=/etc/resolv.conf --odd checksum",
        "mco find -S \"!fstat('/etc/resolv.conf').md5=/26b7ec/\"",
        "salt '*' file.get_hash /etc/resolv.conf --out=txt | clubak -b",
        "(by host: `-m stat -a path=/etc/resolv.conf`)",
        "clush -a --diff sha256sum /etc/resolv.conf",
    ),
    Task(
        15,
        "last 20 lines of a log on three nodes",
        "rpc file tail path=/var/log/app.log lines=20 -I web[01-02] -I db01",
        "mco shell run 'tail -20 /var/log/app.log' -I web01 -I web02 -I db01",
        "salt -L web01,web02,db01 cmd.run 'tail -20 /var/log/app.log'",
        "ansible web01,web02,db01 -a 'tail -20 /var/log/app.log'",
        "clush -w web[01-02],db01 -B tail -20 /var/log/app.log",
    ),
    Task(
        16,
        "run a command with arguments that need quoting",
        """rpc exec run -I web01 -- printf '[%s]' "it's" 'say "hi"' '$HOME' '*'""",
        "(quoted twice: one string, for the node's shell)",
        "(quoted twice: one string, for the node's shell)",
        """ansible web01 -m command -a '{"argv": ["printf", "[%s]", "it'\\''s", …]}'""",
        "(quoted twice: ssh joins the words for the node's shell)",
    ),
    Task(
        17,
        "submit for 04:00",
        "job submit package update name=openssl -F role=web --at 04:00 --name openssl",
        "(no way)",
        "salt -G role:web schedule.add openssl function=pkg.install "
        "job_args=\"['openssl']\" once=2026-11-25T04:00:00",
        "ansible web -b -m shell -a \"echo 'apt-get -y install openssl' | at 04:00\"",
        "clush -g web \"echo 'apt-get -y install openssl' | at 04:00\"",
    ),
    Task(
        18,
        "who will run it",
        "job forecast --from 04:00 --within 1h",
        "(no way)",
        "salt -G role:web schedule.show_next_fire_time openssl",
        "ansible web -b -a atq",
        "clush -g web -b atq",
    ),
    Task(
        19,
        "move it to 05:00",
        "job edit openssl --at 05:00",
        "(no way)",
        "salt -G role:web schedule.modify openssl function=pkg.install "
        "job_args=\"['openssl']\" once=2026-11-25T05:00:00",
        "(`atrm` by each node's number, then again)",
        "(`atrm` by each node's number, then again)",
    ),
    Task(
        20,
        "cancel it on one site",
        "job cancel openssl -F site=ams",
        "(no way)",
        "salt -G site:ams schedule.delete openssl",
        "(`atrm` by each node's number)",
        "(`atrm` by each node's number)",
    ),
    Task(
        21,
        "yesterday's result as CSV",
        "replies package.status@yesterday > yesterday.csv",
        "(no history)",
        "(JSON: `salt-run jobs.lookup_jid JID`, for 24 h)",
        "(no history)",
        "(no history)",
        cell='client.replies("package.status@yesterday").frame().to_csv("yesterday.csv")',
    ),
    Task(
        22,
        "what changed since last week's run",
        "rpc package status name=openssl --diff @7d",
        "(no history)",
        "(no way)",
        "(no history)",
        "(no history)",
    ),
    Task(
        23,
        "why is db03 silent",
        "explain db03",
        "(no way)",
        "(the logs)",
        "ansible db03 -m ping -vvv (what ssh says)",
        "clush -w db03 -O debug=yes true (what ssh says)",
        cell='client.explain("db03")',
    ),
    Task(
        24,
        "hand the open session to a colleague's machine",
        "session export friday.mcs",
        "(there are none)",
        "(the master has it all)",
        "(there are none)",
        "(there are none)",
    ),
    Task(
        25,
        "the Monday report as HTML",
        "report 02_fleet_report.ipynb -p where=role=web -o monday.html",
        "(a script)",
        "(a script)",
        "(a playbook with a template)",
        "(a script)",
    ),
)


def table() -> str:
    """The tasks as the table of the README."""
    lines = [
        "| | at the prompt, in a notebook | mco | salt | ansible | clush |",
        "|---|---|---|---|---|---|",
    ]
    for one in TASKS:
        ours = _code(one.prompt) + ("" if one.cell is None else f"<br>{_code(one.cell)}")
        others = (_said(text) for text in (one.mco, one.salt, one.ansible, one.clush))
        lines.append(f"| {one.number} {one.title} | {ours} | {' | '.join(others)} |")
    return "".join(f"{line}\n" for line in lines)


def _said(text: str) -> str:
    """A line as code, a remark in brackets as it is; a line may end with a remark."""
    if text.startswith("("):
        return text[1:-1].replace("|", "\\|")
    line, bracket, remark = text.partition(" (")
    return f"{_code(line)} ({remark}" if bracket else _code(line)


def _code(text: str) -> str:
    # A bar ends a table's cell, in code too.
    return "`" + text.replace("|", "\\|") + "`"


def placed(text: str) -> str:
    """The README's text with the table in its place."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, "the README has a place for the table"
    assert end, "the README has an end for the table"
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(placed(README.read_text(encoding="utf-8")), encoding="utf-8")
