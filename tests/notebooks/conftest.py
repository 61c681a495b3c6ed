"""A demo fleet that other processes join, and kernels that talk to it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

from tests.notebooks import books

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jupyter_client.blocking import BlockingKernelClient
    from jupyter_client.manager import KernelManager


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
    """25 emulated nodes and this host, for the whole run."""
    folder = tmp_path_factory.mktemp("demo")
    with books.demo(folder) as environ:
        yield Demo(folder, environ)
