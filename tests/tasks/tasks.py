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
        admitted=1,
        host="who is up",
        reply_sink="ping",
        timeout="mco ping",
        cancelled="salt-run manage.up",
        put="ansible all -m ping",
        started="clush -ab echo up",
    ),
    Task(
        admitted=2,
        host="who should be up and isn't",
        reply_sink="ping --only state=silent",
        timeout="mco rpc rpcutil ping --nodes all.txt",
        cancelled="salt-run manage.down",
        put="ansible all -m ping -o | grep UNREACHABLE",
        started="clush -a true",
    ),
    Task(
        admitted=3,
        host="distribution of a fact",
        reply_sink="facts site",
        timeout="mco facts site",
        cancelled="salt '*' grains.get site --out=txt | cut -d: -f2 | sort | uniq -c",
        put="(facts by host; counting them is a script)",
        started="clush -ab cat /etc/site",
    ),
    Task(
        admitted=4,
        host="a fact with sub-keys, two levels down",
        reply_sink="facts os.release.major",
        timeout="(only to filter: `-S \"fact('os.release.major').value=12\"`)",
        cancelled="salt '*' grains.get os:release:major",
        put="(`setup`'s filter reaches the top level)",
        started="clush -ab facter os.release.major",
    ),
    Task(
        admitted=5,
        host="one node's inventory",
        reply_sink="inventory web01",
        timeout="mco inventory web01",
        cancelled="salt web01 grains.items",
        put="ansible web01 -m setup",
        started="clush -w web01 facter",
    ),
    Task(
        admitted=6,
        host="version of a package everywhere, folded",
        reply_sink="rpc package status name=openssl --fold version",
        timeout="mco package openssl status",
        cancelled="salt '*' pkg.version openssl --out=txt | clubak -b",
        put="ansible all -o -a \"dpkg-query -Wf '${Version}' openssl\"",
        started="clush -ab dpkg-query -W openssl",
    ),
    Task(
        admitted=7,
        host="nodes whose version differs from the majority",
        reply_sink="rpc package status name=openssl --odd version",
        timeout="mco find -S \"!package('openssl').ensure=3.0.15-1\"",
        cancelled="(fold, and read)",
        put="(a script)",
        started="clush -a --diff dpkg-query -W openssl",
        cell="odd = %mco rpc package status name=openssl --odd version",
    ),
    Task(
        admitted=8,
        host="nodes where a package is missing",
        reply_sink="rpc package status name=ufw --only installed=false",
        timeout="mco find -S \"package('ufw').ensure=absent\"",
        cancelled="salt '*' pkg.version ufw --out=txt | grep ': *$'",
        put="ansible all -m package -a 'name=ufw state=present' -C -o | grep CHANGED",
        started='clush -aN "dpkg -s ufw >&- 2>&- || hostname"',
    ),
    Task(
        admitted=9,
        host="update it there only",
        reply_sink="rpc package update name=openssl --nodes _",
        timeout="mco package openssl update -S \"!package('openssl').ensure=3.0.15-1\"",
        cancelled="salt -L web03,web07 pkg.install openssl",
        put="ansible web03,web07 -b -m apt -a 'name=openssl state=latest'",
        started="clush -w web[03,07] apt-get -y install openssl",
        cell='odd.mco.rpc("package", "update", name="openssl")',
    ),
    Task(
        admitted=10,
        host="restart a service in batches of 10 %, stop at 3 failures",
        reply_sink="rpc service restart name=chrony --batch 10% --max-failures 3",
        timeout="mco service chrony restart --batch 10% (does not stop)",
        cancelled="salt '*' -b 10% --failhard service.restart chrony (stops at the first)",
        put="(a playbook: `serial`, `max_fail_percentage`)",
        started="clush -af 2 systemctl restart chrony (does not stop)",
        cell='df = client.rpc("service", "restart", name="chrony", batch="10%", max_failures=3).frame()',
    ),
    Task(
        admitted=11,
        host="a canary first, then the rest",
        reply_sink="rpc service restart name=nginx -F role=web --canary 1",
        timeout="(two lines: `--limit 1`, then all)",
        cancelled="(two lines: `--subset=1`, then all)",
        put="(a playbook: `serial: [1, 100%]`)",
        started="(two lines: `--pick=1`, then all)",
    ),
    Task(
        admitted=12,
        host="re-run on the failed and silent ones",
        reply_sink="retry",
        timeout="(by hand, from the output)",
        cancelled="(by hand, from the output)",
        put="(playbooks only: `--limit @site.retry`)",
        started="(by hand, from the output)",
        cell="df.mco.retry()",
    ),
    Task(
        admitted=13,
        host="top 5 processes by memory over the fleet",
        reply_sink="rpc process list --top 5 processes.rss_bytes",
        timeout="(by node: `mco shell run 'ps axo rss,comm --sort=-rss | head -5'`)",
        cancelled="(by node: `salt '*' ps.top num_processes=5`)",
        put="(by node: `-m shell -a 'ps axo rss,comm --sort=-rss | head -5'`)",
        started="clush -a 'ps axho rss,comm --sort=-rss | head -5' | sort -rnk2 | head -5",
    ),
    Task(
        admitted=14,
        host="checksum of a file everywhere, odd ones out",
        reply_sink="rpc file checksum path=/etc/resolv.conf --odd checksum",
        timeout="mco find -S \"!fstat('/etc/resolv.conf').md5=/26b7ec/\"",
        cancelled="salt '*' file.get_hash /etc/resolv.conf --out=txt | clubak -b",
        put="(by host: `-m stat -a path=/etc/resolv.conf`)",
        started="clush -a --diff sha256sum /etc/resolv.conf",
    ),
    Task(
        admitted=15,
        host="last 20 lines of a log on three nodes",
        reply_sink="rpc file tail path=/var/log/app.log lines=20 -I web[01-02] -I db5",
        timeout="mco shell run 'tail -20 /var/log/app.log' -I web01 -I web02 -I db5",
        cancelled="salt -L web01,web02,db5 cmd.run 'tail -20 /var/log/app.log'",
        put="ansible web01,web02,db5 -a 'tail -20 /var/log/app.log'",
        started="clush -w web[01-02],db5 -B tail -20 /var/log/app.log",
    ),
    Task(
        admitted=16,
        host="run a command with arguments that need quoting",
        reply_sink="""rpc exec run -I web01 -- printf '[%s]' "it's" 'say "hi"' '$HOME' '*'""",
        timeout="(quoted twice: one string, for the node's shell)",
        cancelled="(quoted twice: one string, for the node's shell)",
        put="""ansible web01 -m command -a '{"argv": ["printf", "[%s]", "it'\\''s", …]}'""",
        started="(quoted twice: ssh joins the words for the node's shell)",
    ),
    Task(
        admitted=17,
        host="submit for 04:00",
        reply_sink="job submit package update name=openssl -F role=web --at 04:00 --name openssl",
        timeout="(no way)",
        cancelled="salt -G role:web schedule.add openssl function=pkg.install "
        "job_args=\"['openssl']\" once=2026-11-25T04:00:00",
        put="ansible web -b -m shell -a \"echo 'apt-get -y install openssl' | at 04:00\"",
        started="clush -g web \"echo 'apt-get -y install openssl' | at 04:00\"",
    ),
    Task(
        admitted=18,
        host="who will run it",
        reply_sink="job forecast --from 04:00 --within 1h",
        timeout="(no way)",
        cancelled="salt -G role:web schedule.show_next_fire_time openssl",
        put="ansible web -b -a atq",
        started="clush -g web -b atq",
    ),
    Task(
        admitted=19,
        host="move it to 05:00",
        reply_sink="job edit openssl --at 05:00",
        timeout="(no way)",
        cancelled="salt -G role:web schedule.modify openssl function=pkg.install "
        "job_args=\"['openssl']\" once=2026-11-25T05:00:00",
        put="(`atrm` by each node's number, then again)",
        started="(`atrm` by each node's number, then again)",
    ),
    Task(
        admitted=20,
        host="cancel it on one site",
        reply_sink="job cancel openssl -F site=ams",
        timeout="(no way)",
        cancelled="salt -G site:ams schedule.delete openssl",
        put="(`atrm` by each node's number)",
        started="(`atrm` by each node's number)",
    ),
    Task(
        admitted=21,
        host="yesterday's result as CSV",
        reply_sink="replies package.status@yesterday > yesterday.csv",
        timeout="(no history)",
        cancelled="(JSON: `salt-run jobs.lookup_jid JID`, for 24 h)",
        put="(no history)",
        started="(no history)",
        cell='client.replies("package.status@yesterday").frame().to_csv("yesterday.csv")',
    ),
    Task(
        admitted=22,
        host="what changed since last week's run",
        reply_sink="rpc package status name=openssl --diff @7d",
        timeout="(no history)",
        cancelled="(no way)",
        put="(no history)",
        started="(no history)",
    ),
    Task(
        admitted=23,
        host="why is db7 silent",
        reply_sink="explain db7",
        timeout="(no way)",
        cancelled="(the logs)",
        put="ansible db7 -m ping -vvv (what ssh says)",
        started="clush -w db7 -O debug=yes true (what ssh says)",
        cell='client.explain("db7")',
    ),
    Task(
        admitted=24,
        host="hand the open session to a colleague's machine",
        reply_sink="session export friday.mcs",
        timeout="(there are none)",
        cancelled="(the master has it all)",
        put="(there are none)",
        started="(there are none)",
    ),
    Task(
        admitted=25,
        host="the Monday report as HTML",
        reply_sink="report 02_fleet_report.ipynb -p where=role=web -o monday.html",
        timeout="(a script)",
        cancelled="(a script)",
        put="(a playbook with a template)",
        started="(a script)",
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
