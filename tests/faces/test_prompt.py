"""The prompt with a real line editor, fed with keys, on a real fleet."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from mcshell.client.discovery.targeting import Targeting
from mcshell.commands.context import Context
from mcshell.shell.lines import run_line
from mcshell.shell.output import Screen
from mcshell.shell.progress import ProgressBar
from mcshell.shell.prompt import loop, session
from mcshell.shell.watcher import RequestWatcher
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faces.conftest import Fleet

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def context(fleet: Fleet) -> Iterator[Context]:
    """The surroundings of a prompt of the fleet's operator."""
    found = Context("prompt", fleet.config)
    yield found
    found.close()


def typed(context: Context, keys: str) -> tuple[int, str, str]:
    """Type keys at the prompt; the exit code and what went to the two streams."""
    out, err = io.StringIO(), io.StringIO()
    with (
        create_pipe_input() as pipe,
        create_app_session(input=pipe, output=DummyOutput()),
        session(context, ProgressBar(on=False)) as lines,
    ):
        pipe.send_text(keys)
        code = loop(lines, context, Screen(out, err, None))
    return code, out.getvalue(), err.getvalue()


def test_lines_run_until_ctrl_d(context: Context) -> None:
    """Lines are answered one by one; Ctrl-D leaves with the last line's code."""
    code, out, err = typed(context, "find -F role=web --senders\rrpc rpcutil ping -I db1\r\x04")
    assert code == 0
    assert out.startswith("web1\nweb2\n")
    assert "db1" in out
    assert "1 target: 1 ok" in err


def test_ctrl_c_clears_the_line_and_errors_do_not_leave(context: Context) -> None:
    """A line broken off is not run, a bad one is one line on standard error, and we go on."""
    code, out, err = typed(context, "pnig\x03pnig\r\rfind -I db1 --senders\rquit\r")
    assert (code, out) == (0, "db1\n")
    assert err == "unknown verb 'pnig' (did you mean ping?)\n"


def test_the_last_lines_code_is_the_prompts(context: Context) -> None:
    """`exit` leaves with the code of the line before."""
    code, _, err = typed(context, "rpc rpcutil pnig\rexit\r")
    assert code == 64
    assert err.count("\n") == 1


def test_a_bang_is_the_operators_shell(context: Context, capfd: pytest.CaptureFixture[str]) -> None:
    """`!command` runs in the shell that the operator has."""
    code, _, _ = typed(context, "!echo from $((40+2))\r!exit 3\r\x04")
    assert code == 3
    assert capfd.readouterr().out == "from 42\n"


PASTE = "\x1b[200~{}\x1b[201~\r"
"""What a terminal sends for a paste, and Enter."""


def test_a_paste_is_read_line_by_line(context: Context, capfd: pytest.CaptureFixture[str]) -> None:
    """Comments with apostrophes, the shell's lines, `exit`: each is its own line, in order."""
    text = "# it's pasted\n!echo from $((40+2)); echo it\nfind -I db1 --senders  # it's db1\n"
    code, out, err = typed(context, f"{PASTE.format(text)}find -I web1 --senders\r\x04")
    assert (code, out, err) == (0, "db1\nweb1\n", "")
    assert capfd.readouterr().out == "from 42\nit\n"
    code, out, _ = typed(context, PASTE.format("rpc a\nfind --senders") + "\x04")
    assert (code, out) == (64, "")
    for word in ("exit", "exit;", "\\q", "quit"):
        context.left = False
        _, out, _ = typed(context, PASTE.format(f"find -I db1 --senders\n{word}\nfind --senders"))
        assert out == "db1\n"


def test_free_text_is_the_verbs(context: Context, tmp_path: Path) -> None:
    """`>` and `'ok'` are SQL's, a program's `|` the program's; a quoted query may go to a file."""
    (tmp_path / "here").mkdir()
    line = "sql select sender from replies where lag > 0.0 and state = 'ok' and sender > 'e' group by 1"
    keys = f'rpc rpcutil ping -F role=web\r{line}\rsql "{line[4:]}" > {tmp_path}/a.csv\r'
    keys += "rpc exec run -I web1 --json -- echo 'a  b' | c > d; find -I db1 --senders\r"
    keys += "sql select sender from replies > b.csv\r"
    told: list[str] = []
    context.say = told.append
    _, out, err = typed(context, f"{keys}\x04")
    words = "behind -- no shell reads |: the command has it as a word (replies | … is yours)"
    assert told[0] == words
    said = json.loads(next(text for text in out.splitlines() if text.startswith("{")))
    assert said["replies"][0]["data"]["stdout"] == "a  b | c > d\n"
    assert out.endswith("db1\n")
    assert (tmp_path / "a.csv").read_text() == "sender\nweb1\nweb2\n"
    assert "(> is SQL here: sql '…' > sends it elsewhere)" in err.splitlines()[-1]
    assert not Path("0.0").exists()
    assert not Path("b.csv").exists()


def test_what_cannot_be_written_is_not_asked(context: Context, tmp_path: Path) -> None:
    """A file that cannot be, a pipe behind a file: refused, and no request was made."""
    before = len(context.client().requests())
    keys = "".join(
        f"rpc rpcutil ping {end}\r"
        for end in (
            f"> {tmp_path}/no/a.csv",
            f"> {tmp_path}/a | wc",
            "> a b.csv",
            "> a.xls",
            "> 3",
            "|",
        )
    )
    _, out, err = typed(context, f"{keys}\x04")
    assert (out, err.count("\n")) == ("", 6), err
    assert len(context.client().requests()) == before


def test_rows_are_added_to_a_file(context: Context, tmp_path: Path) -> None:
    """`>>` keeps what is there, and one head; a loop of the shell's is one command."""
    for name in ("db1", "web1"):
        typed(context, f"find -I {name} >> {tmp_path}/all.csv\r\x04")
    assert (tmp_path / "all.csv").read_text() == "sender\ndb1\nweb1\n"
    loop_ = f'while read a; do echo "[$a]"; done > {tmp_path}/loop'
    assert typed(context, f"find --senders -F role=web | {loop_}; find -I db1\r\x04")[0] == 0
    assert (tmp_path / "loop").read_text() == "[web1]\n[web2]\n"


def test_aliases_and_history_at_the_prompt(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alias of the configuration is a line's beginning; `history` has what was typed."""
    config = fleet.config.with_name("aliases.toml")
    config.write_text(
        f'{fleet.config.read_text()}\n[aliases]\nwho = "find --senders -F role=web"\n'
    )
    monkeypatch.setenv("MCSHELL_STATE", str(tmp_path / "state"))
    context = Context("prompt", config)
    code, out, err = typed(context, "who -I web2\rhistory 1 --json\r\x04")
    context.close()
    assert (code, err) == (0, "")
    assert out.startswith("web2\n")
    assert json.loads(out.partition("\n")[2])[0]["line"] == "history 1 --json"


def test_a_prompt_without_a_history_file(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a folder in its place lines run as ever."""
    (tmp_path / "state" / "history").mkdir(parents=True)
    monkeypatch.setenv("MCSHELL_STATE", str(tmp_path / "state"))
    context = Context("prompt", fleet.config)
    code, out, err = typed(context, "find -I db1 --senders\rfind -I web1 --senders\r\x04")
    context.close()
    assert (code, out, err) == (0, "db1\nweb1\n", "")


def test_a_pipe_and_a_file_take_what_a_line_gives(
    context: Context, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`| command` has the text on its standard input, `> file` the format that its name says."""
    keys = "find --senders | sort -r | head -1\r"
    for name in ("a.csv", "a.json", "a.jsonl", "a.parquet", "a.txt"):
        keys += f"rpc rpcutil get_fact fact=rack -F role=web > {tmp_path / name}\r"
    code, out, _ = typed(context, f"{keys}find > {tmp_path}/no/such\r\x04")
    assert (code, out) == (64, "")
    assert capfd.readouterr().out == "web2\n"
    assert (tmp_path / "a.csv").read_text().startswith("sender,state,statuscode,")
    assert json.loads((tmp_path / "a.json").read_text())["stats"]["ok"] == 2
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 2
    assert "web1" in (tmp_path / "a.txt").read_text()
    found = pd.read_parquet(tmp_path / "a.parquet")
    assert list(found["value"]) == ['{"row": 4}'] * 2
    assert sorted(found["sender"]) == ["web1", "web2"]


def test_a_line_goes_on_after_a_backslash_or_in_quotes(context: Context) -> None:
    """Enter inside an open quote, or after a backslash, adds a line; the whole is run at once."""
    code, out, err = typed(
        context, "find \\\r-I db1 --senders\rfind -S 'role=db\r' --senders\r\x04"
    )
    assert (code, out) == (0, "db1\ndb1\n"), err


def test_the_filter_in_force_narrows_every_line(context: Context) -> None:
    """`filter` holds for the lines that follow, beside their own filters, until `--off`."""
    keys = "filter -F role=web\rfind --senders\rfind -I db1 --senders\rfind -I web2 --senders\r"
    _, out, err = typed(context, f"{keys}filter --off\rfind -I db1 --senders\r\x04")
    assert out.split()[-4:] == ["web1", "web2", "web2", "db1"]
    assert "no node matches" in err
    assert "no filter is in force" in err


def test_tab_completes_from_what_is_known(context: Context) -> None:
    """Tab takes a completion, Enter accepts it, a second Enter runs the line."""
    context.client().find(Targeting())
    out = io.StringIO()
    with (
        create_pipe_input() as pipe,
        create_app_session(input=pipe, output=DummyOutput()),
        session(context, ProgressBar(on=False)) as lines,
    ):
        assert lines.refresher.wait(30)
        assert wait_until(lambda: "db1" in lines.refresher.cache.nodes, 30)
        buffer = lines.buffer

        def keys() -> None:
            for text, expected in (("find --senders -I d", " d"), ("\t", " db1")):
                pipe.send_text(text)
                wait_until(lambda: buffer.text.endswith(expected), 30)  # noqa: B023 - called here
            pipe.send_text("\r\r\x04")

        typist = threading.Thread(target=keys)
        typist.start()
        loop(lines, context, Screen(out, io.StringIO(), None))
        typist.join()
    assert out.getvalue() == "db1\n"


def test_a_background_request_announces_its_end(context: Context) -> None:
    """The watcher counts what is open and new, tells of the end, and forgets what was shown."""
    told: list[str] = []
    watcher = RequestWatcher(context, told.append)
    watcher.look()
    assert watcher.status.session == ""
    client = context.client()
    watcher.look()
    replies = client.rpc("exec", "run", argv=["sleep", "1"], nodes=["web1"], wait=False)
    watcher.look()
    assert (watcher.status.open, watcher.status.unseen) == (1, 0)
    replies.wait(60)
    assert wait_until(lambda: watcher.look() or bool(told), 30)
    assert told == [f"request {replies.requestid[:8]} (exec run) is complete: 1 ok"]
    assert (watcher.status.open, watcher.status.unseen) == (0, 1)
    watcher.shown(replies.requestid, 1)
    watcher.look()
    assert watcher.status.unseen == 0


def test_a_late_answer_is_told(context: Context) -> None:
    """An answer that comes after its request was over is told of once, and counted as new."""
    told: list[str] = []
    watcher = RequestWatcher(context, told.append)
    client = context.client()
    watcher.look()
    replies = client.rpc("exec", "run", argv=["sleep", "3"], nodes=["web1"], timeout=1)
    assert replies.stats["ok"] == 0
    watcher.shown(replies.requestid, 0)
    watcher.look()
    assert told == []
    assert wait_until(lambda: replies.stats["ok"] == 1, 60)
    for _ in range(2):
        watcher.look()
        assert told == [f"request {replies.requestid[:8]} (exec run) has 1 late: 1 ok"]
        assert watcher.status.unseen == 1


def test_what_a_line_has_shown_is_not_new(context: Context) -> None:
    """Rows that were folded or picked, a ping and a look at the jobs leave nothing to be seen."""
    told: list[str] = []
    watcher = RequestWatcher(context, told.append)
    context.seen = lambda replies: watcher.shown(replies.requestid, len(replies))
    context.client()
    watcher.look()
    screen = Screen(io.StringIO(), io.StringIO(), None)
    for line in (
        "rpc rpcutil get_fact fact=role --fold value",
        "facts role",
        "ping -I db1",
        "inventory db1",
        "job list",
        "job forecast",
    ):
        run_line(line, context, screen)
        watcher.look()
        assert (line, watcher.status.open, watcher.status.unseen) == (line, 0, 0)
    assert told == []


def test_f4_changes_the_keys_and_f2_the_progress(context: Context) -> None:
    """After F4 the keys are vi's (and back); F2 switches the bar off."""
    progress = ProgressBar()
    out = io.StringIO()
    with (
        create_pipe_input() as pipe,
        create_app_session(input=pipe, output=DummyOutput()),
        session(context, progress) as lines,
    ):
        # in vi's keys: Escape, then 0 and x delete the first letter
        pipe.send_text("\x1bOSxfind -I db1 --senders\x1b0x\r\x1bOQ\x04")
        loop(lines, context, Screen(out, io.StringIO(), None))
    assert out.getvalue() == "db1\n"
    assert not progress.on


def test_history_is_kept(context: Context) -> None:
    """What was typed is in the state directory, and comes back with the up key."""
    typed(context, "find -I db1 --senders\r\x04")
    assert "find -I db1 --senders" in (context.settings.state_dir / "history").read_text()
    _, out, _ = typed(context, "\x1b[A\r\x04")
    assert out == "db1\n"
