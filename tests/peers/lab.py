"""JupyterLab in a headless Chromium, driven as a person would: menus, keys, cells on the page.

The server has folders of its own for configuration, data, settings and workspaces, so that nothing
of whoever runs the tests is read or written. Everything that is awaited has a deadline.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import nbformat
from playwright.sync_api import TimeoutError as TooLate
from playwright.sync_api import expect, sync_playwright

from tests.peers.processes import Child, PeerError, free_ports, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from playwright.sync_api import Browser, Locator, Page

__all__ = ["Book", "Lab", "blank", "chromium"]

CHROMIUM = "/usr/bin/chromium"
READY = 120.0
DEADLINE = 60_000.0  # milliseconds: for whatever a page must show
PATIENCE = 3000.0  # as much as the lab has, and more
TOKEN = "sesame"
COUNT = re.compile(r"([\d,]+) of [\d,]+ targets")
SIZE = {"width": 1280, "height": 900}
QUIET = {"fetchNews": "false", "checkForUpdates": False}

# Everything a cell's output has shown, in order: updates come faster than a test could look.
WATCH = """cell => {
    const area = cell.querySelector('.jp-Cell-outputWrapper');
    const seen = cell.mcshellSeen = [];
    const look = () => {
        const text = area.textContent;
        const bar = area.querySelector('progress');
        const last = seen[seen.length - 1];
        const now = [text, bar ? bar.value : null];
        if (!last || last[0] !== now[0] || last[1] !== now[1]) seen.push(now);
    };
    new MutationObserver(look).observe(
        area, {subtree: true, childList: true, attributes: true, characterData: true}
    );
    look();
}"""

PASSED = "([cell, pattern]) => cell.mcshellSeen.some(([text]) => text.match(pattern))"

# Scrolls one page down; whether there was more to see.
PAGE_DOWN = """pane => {
    const before = pane.scrollTop;
    pane.scrollBy(0, pane.clientHeight * 0.9);
    return pane.scrollTop - before > 1;
}"""


class Lab:
    """The server that `argv` starts, on a port of its own; a context manager that ends it.

    Args:
        argv: a command that runs JupyterLab in the foreground.
        folder: an empty one, for all that Jupyter writes.
        environ: the command's environment, without Jupyter's places.
    """

    def __init__(
        self, argv: Sequence[str | Path], folder: Path, environ: Mapping[str, str]
    ) -> None:
        self._argv, self._folder = argv, folder
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        names = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
        places = {f"JUPYTER_{name}": folder / name.lower() for name in names}
        places["JUPYTERLAB_SETTINGS_DIR"] = folder / "settings"
        places["JUPYTERLAB_WORKSPACES_DIR"] = folder / "workspaces"
        places["IPYTHONDIR"] = folder / "ipython"
        for place in places.values():
            place.mkdir()
        self._environ = {**environ, **{name: str(place) for name, place in places.items()}}
        config = {
            "ServerApp": {"ip": "127.0.0.1", "port": port, "port_retries": 0, "allow_root": True},
            "ExtensionApp": {"open_browser": False},
            "IdentityProvider": {"token": TOKEN},
        }
        path = places["JUPYTER_CONFIG_DIR"] / "jupyter_server_config.json"
        path.write_text(json.dumps(config))
        self.setting("apputils-extension/notification", QUIET)

    def setting(self, name: str, values: Mapping[str, Any]) -> None:
        """Settle what a person would in the settings editor; a page that is open stays as it is."""
        path = self._folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))

    def __enter__(self) -> Self:
        self._child = Child(self._argv, self._folder / "lab.log", self._environ)
        wait_until(lambda: not self._child.running or self._serves(), READY)
        if not self._serves():
            self._child.stop()
            raise PeerError(f"JupyterLab did not come up:\n{self._child.tail(40)}")
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stop(40)

    def _serves(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/status?token={TOKEN}", timeout=5) as found:
                return found.status == 200
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium without a window."""
    with sync_playwright() as play:
        words = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = play.chromium.launch(executable_path=CHROMIUM, args=words)
        try:
            yield browser
        finally:
            browser.close()


class Book:
    """A notebook open in the lab, in a browser window and a workspace of its own.

    Args:
        page: an empty page.
        lab: where it is.
        path: of the notebook's file below the lab's root.
        shots: where pictures go; also to the folder that MCSHELL_ARTEFACTS names.
    """

    def __init__(self, page: Page, lab: Lab, path: str, shots: Path) -> None:
        self.page, self._shots, self._taken = page, shots, 0
        self._name = Path(path).stem
        page.set_default_timeout(DEADLINE)
        expect.set_options(timeout=DEADLINE)
        page.goto(f"{lab.url}/lab/workspaces/{self._name}/tree/{path}?token={TOKEN}")
        self.panel = page.locator(".jp-NotebookPanel:visible")
        self.cells = self.panel.locator(".jp-Notebook .jp-CodeCell")
        self.idle()

    def idle(self) -> None:
        """Wait until the kernel has nothing to do."""
        # A cell that is run earlier is not run at all; the panel's own sign says "idle" too soon.
        expect(self.page.locator("#jp-main-statusbar")).to_contain_text("| Idle")

    def menu(self, name: str, entry: str) -> None:
        """Click an entry of the menu bar."""
        self.page.get_by_role("menuitem", name=name, exact=True).click()
        label = f'.lm-Menu-itemLabel:text-is("{entry}")'  # the role's name has the shortcut too
        self.page.locator(".lm-Menu-item", has=self.page.locator(label)).click()

    def run_all(self) -> None:
        """Clear what the file has, and Run > Run All Cells, to the end of the last one."""
        self.menu("Edit", "Clear Outputs of All Cells")
        expect(self.cells.last.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[ *\]:"))
        self.menu("Run", "Run All Cells")
        self.finished(self.cells.last)

    def restart(self) -> None:
        """Kernel > Restart Kernel…, confirmed; wait until the new one is there."""
        self.menu("Kernel", "Restart Kernel…")
        dialog = self.page.get_by_role("dialog")
        expect(dialog).to_contain_text("Restart Kernel?")
        self.shot("restart-asks")
        with self.page.expect_response(re.compile(r"/api/kernels/[^/]+/restart")):
            dialog.get_by_role("button", name="Confirm Kernel Restart").click()
        self.idle()

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> Locator:
        """Type into the last cell, which is empty."""
        cell = self.cells.nth(self.cells.count() - 1)
        cell.locator(".cm-content").click()
        self.page.keyboard.insert_text(text)
        expect(cell.locator(".cm-content")).to_contain_text(text.splitlines()[-1])
        return cell

    def begin(self, text: str) -> Locator:
        """Type into the last cell, and run it with Shift-Enter; an empty one comes below."""
        cell = self.type(text)
        count = self.cells.count()
        cell.evaluate(WATCH)
        self.press("Shift+Enter")
        expect(self.cells).to_have_count(count + 1)
        return cell

    def run(self, text: str) -> Locator:
        """As `begin`, and wait until the cell has run."""
        cell = self.begin(text)
        self.finished(cell)
        return cell

    @staticmethod
    def finished(cell: Locator) -> None:
        """Wait until a cell that runs has its number."""
        expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]:"))

    @staticmethod
    def output(cell: Locator) -> Locator:
        """What a cell shows below itself."""
        return cell.locator(".jp-Cell-outputWrapper")

    @staticmethod
    def seen(cell: Locator) -> list[tuple[int, float]]:
        """What a live display in a cell begun here has shown so far: its count, and its bar."""
        shown = [
            (int(match[1]), bar)
            for text, bar in cell.evaluate("cell => cell.mcshellSeen")
            if bar is not None and (match := COUNT.search(text))
        ]
        return [one for one, before in zip(shown, [None, *shown], strict=False) if one != before]

    def passes(self, cell: Locator, pattern: str) -> None:
        """Wait until a cell begun here has shown such text, also if it does so no longer."""
        self.page.wait_for_function(PASSED, arg=[cell.element_handle(), pattern])

    @classmethod
    def shows(cls, cell: Locator, pattern: str) -> None:
        """Wait until a cell's output has text of this pattern."""
        expect(cls.output(cell)).to_contain_text(re.compile(pattern, re.DOTALL))

    @classmethod
    def bars(cls, cell: Locator) -> int:
        """How many progress bars a cell shows."""
        return cls.output(cell).locator("progress").count()

    def pictures(self) -> int:
        """How many plots the notebook shows."""
        images = self.panel.locator(".jp-OutputArea-output img").all()
        return sum(image.evaluate("image => image.naturalWidth > 0") for image in images)

    def offers(self, text: str) -> None:
        """Press Tab, again where the lab has waited in vain, until its menu has an entry."""
        menu = self.page.locator(".jp-Completer:visible")

        def offered() -> bool:
            self.press("Tab")
            with suppress(TooLate):
                menu.wait_for(timeout=PATIENCE)
            return menu.count() > 0

        assert wait_until(offered, DEADLINE / 1000), "Tab offers nothing"
        expect(menu).to_contain_text(text)

    def errors(self) -> list[str]:
        """Tracebacks and standard error of all cells."""
        kinds = ("application/vnd.jupyter.error", "application/vnd.jupyter.stderr")
        wanted = ", ".join(f'[data-mime-type="{kind}"]' for kind in kinds)
        return self.panel.locator(wanted).all_text_contents()

    def leaf(self, name: str) -> None:
        """Take a picture of each part of the notebook in turn, from its top to its end."""
        pane = self.panel.locator(".jp-WindowedPanel-outer")
        pane.evaluate("pane => pane.scrollTo(0, 0)")
        while True:
            self.shot(name)
            if not pane.evaluate(PAGE_DOWN):
                return

    def shot(self, name: str) -> None:
        """Take a picture of the window."""
        self._taken += 1
        path = self._shots / f"{self._name}-{self._taken:02}-{name}.png"
        self.page.screenshot(path=path)
        if artefacts := os.environ.get("MCSHELL_ARTEFACTS"):
            Path(artefacts).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, artefacts)


def blank(path: Path) -> None:
    """Write a notebook with one empty cell."""
    spec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell()], metadata={"kernelspec": spec}
    )
    nbformat.write(book, path)
