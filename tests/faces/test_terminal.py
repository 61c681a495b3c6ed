"""The prompt in a real terminal (tmux): README's session, completion, Ctrl-C, hostile replies."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faces import picture
from tests.faces.picture import steady
from tests.peers.processes import wait_until
from tests.peers.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faces.conftest import Fleet

pytestmark = [pytest.mark.tmux, pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parents[2]
MCSHELL = [sys.executable, "-m", "mcshell"]
PROMPT = "mcs>"


def readme_session() -> list[str]:
    """The lines of README's first session at the prompt."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    match = re.search(r"```text\n\$ mcshell demo\n(.*?)```", text, re.DOTALL)
    assert match is not None, "README has no session that starts with `$ mcshell demo`"
    return match[1].rstrip().splitlines()


def test_the_session_of_the_readme(tmp_path: Path) -> None:
    """What README shows is what a terminal shows when its lines are typed."""
    shown = readme_session()
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Terminal(tmp_path, [*MCSHELL, "demo"], environ) as terminal:
        terminal.wait_for(f"\n{PROMPT}")
        typed = [line for line in shown if line.startswith(PROMPT)]
        for count, line in enumerate(typed, start=2):
            terminal.type(line.removeprefix(PROMPT).strip())
            terminal.wait_for(line)
            terminal.press("Enter")
            terminal.wait(lambda screen, count=count: screen.count("\n" + PROMPT) >= count)
        seen = [steady(line) for line in terminal.screen().splitlines()]
        missing = [line for line in map(steady, shown) if line not in seen]
        assert missing == [], terminal.screen()
        # In order, not only somewhere; the empty prompt and the toolbar come after.
        places = [seen.index(steady(line)) for line in typed]
        assert places == sorted(places)
        terminal.press("C-d")
        assert wait_until(terminal.ended, 30)


def test_the_picture_of_the_readme(tmp_path: Path) -> None:
    """What the picture shows, menu and toolbar too, is what a terminal shows when it is typed."""
    shown = [steady(line) for line in picture.text_of(picture.PICTURE.read_text(encoding="utf-8"))]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Terminal(tmp_path, [*MCSHELL, "demo"], environ, picture.SIZE) as terminal:
        drawn = picture.draw(picture.play(terminal))
        assert [steady(line) for line in picture.text_of(drawn)] == shown
        terminal.press("C-c", "C-d")
        assert wait_until(terminal.ended, 30)
    place = picture.PICTURE.relative_to(ROOT)
    assert f"]({place})" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def prompt(fleet: Fleet, tmp_path: Path) -> Iterator[Terminal]:
    """The prompt of the fleet's operator."""
    environ = {**fleet.environ, "MCSHELL_STATE": str(tmp_path / "state")}
    with Terminal(tmp_path, [*MCSHELL], environ) as terminal:
        terminal.wait_for("faces>")
        yield terminal


def test_typing_completes_and_the_toolbar_tells(prompt: Terminal) -> None:
    """A menu opens while one types; Tab and Enter take a word; the toolbar shows what is in force."""
    prompt.wait_for("not connected")
    prompt.type("find --senders")
    prompt.press("Enter")
    prompt.wait_for("web2\n")
    prompt.wait_for("broker mcshell · session scratch-1 · collective faces")
    prompt.type("rpc rpcutil get_fact fact=rack.r")
    prompt.wait_for("rack.row")
    prompt.press("Tab")
    prompt.wait_for("fact=rack.row")
    prompt.type(" -I db")
    prompt.press("Tab")
    prompt.wait_for("-I db1")
    prompt.press("Enter", "Enter")  # the first takes the word, the second runs the line
    screen = prompt.wait_for("1 target: 1 ok")
    assert "db1" in screen.partition("1 target: 1 ok")[0].splitlines()[-1]
    prompt.type("filter -C webserver")
    prompt.press("Enter")
    prompt.wait_for("filter -C webserver ·")
    prompt.press("F4")
    prompt.wait_for("F4 vi")


def test_the_width_is_asked_at_each_line(prompt: Terminal) -> None:
    """What a narrow terminal has no room for is named; when it is pulled wider all is there, and back."""
    line = "rpc rpcutil get_fact fact=os.name -I web1 -I ghost7 -t 2s"
    heads = []
    for count, width in enumerate((40, 160, 40), start=1):
        prompt.resize(width)
        prompt.type(line)
        prompt.press("Enter")
        screen = prompt.wait(
            lambda screen, count=count: screen.count("2 targets: 1 ok, 1 silent") == count
        )
        shown = screen.rpartition("-t 2s")[2]
        heads.append(shown.strip().splitlines()[0].split())
        assert ("not shown: fact, value (" in " ".join(shown.split())) is (width == 40), screen
    assert heads == [heads[0], [*heads[0], "fact", "value"], heads[0]]


def test_states_have_colours(prompt: Terminal) -> None:
    """A terminal shows a state in its colour; what a node says has none."""
    prompt.type("ping -I web1 -I ghost7 --dt 1s")
    prompt.press("Enter")
    prompt.wait_for("silent")
    shown = prompt.raw()
    assert "\x1b[32mok" in shown
    assert "\x1b[33msilent" in shown


def test_ctrl_c_keeps_what_has_arrived(prompt: Terminal) -> None:
    """A bar shows after half a second; Ctrl-C ends the wait, the rows stay, the prompt lives on."""
    prompt.type("""rpc exec run 'argv=["sleep", "20"]' -I web1 -t 60""")
    prompt.press("Enter")
    prompt.wait(lambda screen: "exec run:" in screen and "0/1 nodes [" in screen)
    assert "node/s" not in prompt.screen()
    prompt.press("C-c")
    prompt.wait(lambda screen: "web1" in screen and "1 target: 1 r" in screen)
    prompt.type("find -I db1 --senders")
    prompt.press("C-c")
    prompt.type("find -I web2 --senders")
    prompt.press("Enter")
    screen = prompt.wait(lambda screen: "\nweb2\n" in screen)
    assert "\ndb1\n" not in screen
    assert "Traceback" not in screen


def test_a_bar_keeps_to_its_row(prompt: Terminal) -> None:
    """A bar that is under way when the window is pulled narrower is drawn as wide as that then."""

    def seconds(screen: str) -> int:
        return max(map(int, re.findall(r"\[00:(\d\d)", screen)), default=-1)

    prompt.type("""rpc exec run 'argv=["sleep", "50"]' -I web1 -t 60""")
    prompt.press("Enter")
    before = seconds(prompt.wait_for("0/1 nodes ["))
    prompt.resize(60)
    screen = prompt.wait(lambda screen: seconds(screen) >= before + 3)
    prompt.press("C-c")
    # One that was cut in two by the pull, one drawn while it went on, and the one that stands.
    assert screen.count("exec run:") <= 3, screen
    prompt.wait_for("1 target: 1 r")


def test_ctrl_z_suspends(fleet: Fleet, tmp_path: Path) -> None:
    """The prompt goes into the background of the operator's shell, and comes back with its line."""
    environ = {**fleet.environ, "MCSHELL_STATE": str(tmp_path / "state"), "PS1": "sh$ "}
    with Terminal(tmp_path, ["bash", "--norc", "-i"], environ) as terminal:
        terminal.wait_for("sh$")
        terminal.type(" ".join(MCSHELL))
        terminal.press("Enter")
        terminal.wait_for("faces>")
        terminal.type("find -I db1")
        terminal.wait_for("find -I db1")
        terminal.press("C-z")
        terminal.wait_for("Stopped")
        assert "^Z" not in terminal.screen()
        terminal.type("fg")
        terminal.press("Enter")
        terminal.wait(lambda screen: screen.partition("Stopped")[2].count("find -I db1"))
        terminal.type(" --senders")
        terminal.press("Enter")
        terminal.wait(lambda screen: "\ndb1\n" in screen)


def test_no_bar_is_drawn_from_the_background(fleet: Fleet, tmp_path: Path) -> None:
    """What is sent into the background leaves the operator's line alone, and draws again in front."""
    environ = {**fleet.environ, "MCSHELL_STATE": str(tmp_path / "state"), "PS1": "sh$ "}
    asked = "rpc rpcutil ping -I ghost --via queue -t 60"
    with Terminal(tmp_path, ["bash", "--norc", "-i"], environ) as terminal:
        terminal.wait_for("sh$")
        terminal.type(" ".join([*MCSHELL, asked]))
        terminal.press("Enter")
        bars = re.compile(r"\[00:(\d\d)")
        terminal.wait(lambda screen: bars.search(screen) is not None, 60)
        terminal.press("C-z")
        terminal.wait_for("Stopped")
        terminal.type("clear; bg; sleep 2; echo slept")
        terminal.press("Enter")
        screen = terminal.wait(lambda screen: "\nslept" in screen)
        assert bars.search(screen) is None, screen
        terminal.type("fg")
        terminal.press("Enter")
        terminal.wait(lambda screen: bars.search(screen) is not None)
        terminal.press("C-c")
        terminal.wait_for("1 target: 1 pending")


def test_a_question_is_put_again_after_ctrl_z(fleet: Fleet, tmp_path: Path) -> None:
    """Who brings mcshell back sees what his answer will be the answer to."""
    environ = {
        **fleet.environ,
        "MCSHELL_STATE": str(tmp_path / "state"),
        "MCSHELL_CLIENT_CONFIRM_SHARE": "1%",
        "PS1": "sh$ ",
    }
    with Terminal(tmp_path, ["bash", "--norc", "-i"], environ) as terminal:
        terminal.wait_for("sh$")
        terminal.type(" ".join([*MCSHELL, "rpc exec run -I web1 -I web2 -- echo it has run"]))
        terminal.press("Enter")
        terminal.wait_for("go on? [y/N]", 60)
        terminal.stop_and_resume()
        terminal.wait(lambda screen: "go on? [y/N]" in screen.partition("Stopped")[2], 60)
        terminal.type("y")
        terminal.press("Enter")
        terminal.wait(lambda screen: "\nit has run" in screen, 60)


def test_a_line_is_watched_until_ctrl_c(prompt: Terminal) -> None:
    """Each turn has an empty screen and the time of day; the next line is ours again."""
    prompt.type("watch 1 find -I db1 --senders")
    prompt.press("Enter")
    first = prompt.wait(lambda screen: "(every 1 s; Ctrl-C ends it)\ndb1" in screen)
    prompt.wait(
        lambda screen: "Ctrl-C" in screen and screen.splitlines()[0] != first.splitlines()[0]
    )
    prompt.press("C-c")
    prompt.type("find -I web2 --senders")
    prompt.press("Enter")
    prompt.wait(lambda screen: "\nweb2\n" in screen)


def test_a_notice_comes_above_the_prompt(prompt: Terminal) -> None:
    """A background request tells of its end while the operator types something else."""
    prompt.type("""rpc exec run 'argv=["sleep", "3"]' -I web2 -b""")
    prompt.press("Enter")
    prompt.wait_for("1 open")
    prompt.type("find -I half-typed")
    prompt.wait_for("(exec run) is complete: 1 ok")
    prompt.wait_for("1 new replies")
    assert "find -I half-typed" in prompt.screen()


def test_hostile_replies_are_drawn_not_obeyed(prompt: Terminal, tmp_path: Path) -> None:
    """Escapes, bells, bidi marks and megabytes in a reply neither colour, move nor fill the screen."""
    for name, code in (
        ("escapes", r"print('\\33]0;owned\\7\\33[2J\\33[31mred\\33[0m\\r\\u202eabc\\x9b')"),
        ("long", "print('x' * 900_000)"),
    ):
        (tmp_path / f"{name}.py").write_text(code.replace("\\\\", "\\"))
        argv = f'["{sys.executable}", "{tmp_path}/{name}.py"]'
        prompt.type(f"rpc exec run 'argv={argv}' -I web1 --format vertical")
        prompt.press("Enter")
        screen = prompt.wait(lambda screen: "1 target: 1 ok" in screen)
        if name == "escapes":
            assert r"\x1b]0;owned\x07\x1b[2J\x1b[31mred" in screen
            assert r"\u202eabc\x9b" in screen
            assert "\x1b[31mred" not in prompt.raw()
    prompt.wait_for("characters; --json has them all)")
