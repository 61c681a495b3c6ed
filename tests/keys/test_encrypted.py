"""Encrypted key files: asked for at a terminal and in a notebook; a daemon says that it cannot ask."""

from __future__ import annotations

import json
import os
import sys

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from jupyter_client import KernelManager

from mcshell.pki import load_private
from tests.peers.terminal import Terminal

PASSPHRASE = "open sesame"
PING = ("rpc", "rpcutil", "ping", "-I", "web1")


@pytest.fixture
def encrypted(keyring):
    """Both identities' keys under a passphrase; the fleet."""
    for name in ("alice", "web1"):
        path = keyring.fleet.folder / f"{name}.key"
        key = load_private(path.read_bytes())
        lock = BestAvailableEncryption(PASSPHRASE.encode())
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    return keyring.fleet


def test_who_has_no_terminal_says_so(encrypted):
    """A client in a pipe, and a daemon, end with one line that names the file."""
    for words in (PING, ("node", "--config", "web1.toml")):
        done = encrypted.cli(*words)
        assert done.returncode == 64
        (line,) = done.stderr.splitlines()
        name = "web1" if words[0] == "node" else "alice"
        key = encrypted.folder / f"{name}.key"
        assert f"the passphrase of {key} is wanted, and there is no terminal to ask at" in line


@pytest.mark.tmux
def test_a_terminal_is_asked_once(encrypted):
    """The prompt asks without an echo; a second line, and one that loads the key anew, ask no more."""
    argv = [sys.executable, "-m", "mcshell"]
    with Terminal(encrypted.folder, argv, encrypted.environ) as terminal:
        terminal.wait(lambda screen: "the passphrase of" in screen or ">" in screen)
        if "the passphrase of" not in terminal.screen():
            terminal.type("inventory nobody")
            terminal.press("Enter")
        terminal.wait_for("the passphrase of")
        terminal.type(PASSPHRASE)
        terminal.press("Enter")
        for _ in range(2):
            terminal.type("session list")
            terminal.press("Enter")
        screen = terminal.wait_for("scratch-1")
    assert screen.count("the passphrase of") == 1
    assert PASSPHRASE not in screen


@pytest.mark.tmux
@pytest.mark.timeout(240)
def test_the_question_is_broken_off_and_asked_again(encrypted):
    """Ctrl-C at it ends the line; after Ctrl-Z and `fg` it is asked anew, and shows no letter."""
    line = " ".join([sys.executable, "-m", "mcshell", *PING])
    with Terminal(
        encrypted.folder,
        ["bash", "--norc", "-i"],
        {**encrypted.environ, "PS1": "sh$ "},
        size=(400, 50),  # no line is so long that it is cut in two
    ) as terminal:
        terminal.wait_for("sh$")
        terminal.type(line)
        terminal.press("Enter")
        terminal.wait_for("the passphrase of", 60)
        terminal.press("C-c")
        terminal.wait_for("interrupted", 60)
        terminal.type(line)
        terminal.press("Enter")
        terminal.wait(lambda screen: screen.count("the passphrase of") == 2, 60)
        terminal.stop_and_resume()
        terminal.wait(lambda screen: screen.count("the passphrase of") == 3, 60)
        terminal.type(PASSPHRASE)
        terminal.press("Enter")
        screen = terminal.wait_for("1 target: 1 ", 60)
    assert PASSPHRASE not in screen


@pytest.mark.tmux
@pytest.mark.timeout(240)
def test_the_prompt_asks_again_after_a_stop(encrypted):
    """With other threads, one of which hears of `fg` in the place of the one that asks, too."""
    environ = {**encrypted.environ, "PS1": "sh$ "}
    with Terminal(encrypted.folder, ["bash", "--norc", "-i"], environ, size=(400, 50)) as terminal:
        terminal.wait_for("sh$")
        terminal.type(f"{sys.executable} -m mcshell")
        terminal.press("Enter")
        terminal.wait(lambda screen: "the passphrase of" in screen or "F4 emacs" in screen, 60)
        if "the passphrase of" not in terminal.screen():
            terminal.type("inventory nobody")
            terminal.press("Enter")
        terminal.wait_for("the passphrase of", 60)
        terminal.stop_and_resume()
        terminal.wait(lambda screen: screen.count("the passphrase of") == 2, 60)
        terminal.type(PASSPHRASE)
        terminal.press("Enter")
        screen = terminal.wait_for("scratch-1", 60)
    assert PASSPHRASE not in screen


@pytest.mark.timeout(240)
def test_a_notebook_is_asked_in_its_own_way(encrypted):
    """In a kernel the question comes to the front end, and `connect()` goes on with the answer."""
    asked = []
    manager = KernelManager()
    manager.start_kernel(env={**os.environ, **encrypted.environ}, cwd=str(encrypted.folder))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        said = []

        def answer(message):
            asked.append(message["content"])
            client.input(PASSPHRASE)

        code = "import mcshell, json\nclient = mcshell.connect()\nprint(json.dumps(client.caller))"
        client.execute_interactive(
            code,
            allow_stdin=True,
            stdin_hook=answer,
            timeout=120,
            output_hook=lambda message: said.append(
                message["content"].get("text", message["content"])
            ),
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    key = encrypted.folder / "alice.key"
    assert [(one["prompt"], one["password"]) for one in asked] == [
        (f"the passphrase of {key}: ", True)
    ]
    assert json.dumps("cert=alice") in "".join(map(str, said))
