"""A demo fleet that other processes join, and kernels that talk to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jupyter_client.blocking import BlockingKernelClient
    from jupyter_client.manager import KernelManager

ROOT = Path(__file__).resolve().parents[2]
READY = 120.0


@dataclass
class Demo:
    """`mcshell demo`, serving: its folder, and the environment of who joins it."""

    folder: Path
    environ: dict[str, str]

    def run(self, cells: Sequence[str]) -> nbformat.NotebookNode:
        """Execute cells in a kernel of their own, as nbconvert does; the notebook with outputs."""
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in cells])
        NotebookClient(book, timeout=120, kernel_name="python3").execute(env=self.environ)
        return book

    @contextmanager
    def kernel(self) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
        """A kernel, and a client that listens to it."""
        manager, client = start_new_kernel(kernel_name="python3", env=self.environ)
        try:
            yield manager, client
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """25 emulated nodes and this host; the demo lives as long as its standard input is open."""
    folder = tmp_path_factory.mktemp("demo")
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith("MCSHELL_C")
    } | {"PYTHONPATH": str(ROOT), "MCSHELL_CONFIG": str(folder / "mcshell.toml")}
    child = subprocess.Popen(
        [sys.executable, "-m", "mcshell", "demo", "--dir", str(folder), "--nodes", "25"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
        start_new_session=True,
    )
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(child.stderr or ()), daemon=True)
    reader.start()
    try:
        up = wait_until(
            lambda: child.poll() is not None or any("join with" in line for line in said), READY
        )
        assert up, said
        assert child.poll() is None, said
        yield Demo(folder, environ)
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(60)
        assert child.stdin is not None
        child.stdin.close()
        reader.join(10)
        if child.stderr is not None:
            child.stderr.close()
