"""A real `mcollectived` (Debian's 2.12.5) on a broker of the tests: what we are compared with.

MCollective calls what newer Ruby has dropped, so every Ruby is started with a small shim: Psych 4
takes the lists of `safe_load` by keyword only, Ruby 3.2 has no `File.exists?`.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests.peers.processes import Child, PeerError, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.brokers import Broker

__all__ = ["Daemon"]

READY = 60.0
SHIM = """\
require 'yaml'
module PsychPositional
  NAMES = [:permitted_classes, :permitted_symbols, :aliases, :filename].freeze
  def safe_load(yaml, *positional, **keywords)
    positional.each_with_index { |value, i| keywords[NAMES[i]] = value }
    super(yaml, **keywords)
  end
end
Psych.singleton_class.prepend(PsychPositional)
class << File; alias exists? exist?; end unless File.respond_to?(:exists?)
class << Dir; alias exists? exist?; end unless Dir.respond_to?(:exists?)
"""
SERVER = """\
main_collective = mcollective
collectives = mcollective
libdir = /usr/share/mcollective/plugins
identity = {name}
logger_type = file
logfile = {folder}/{name}.log
loglevel = info
daemonize = 0
direct_addressing = 1
registerinterval = 0
securityprovider = psk
plugin.psk = {psk}
connector = {kind}
plugin.{kind}.pool.size = 1
plugin.{kind}.pool.1.host = {host}
plugin.{kind}.pool.1.port = {port}
plugin.{kind}.pool.1.user = {user}
plugin.{kind}.pool.1.password = {passcode}
factsource = yaml
plugin.yaml = {folder}/{name}.facts.yaml
classesfile = {folder}/{name}.classes
"""
CONNECTED = "Connected to"


class Daemon:
    """One mcollectived with its configuration in `folder`; its agent is rpcutil."""

    def __init__(self, broker: Broker, folder: Path, name: str, *, psk: str = "secret") -> None:
        self.folder, self.name = folder, name
        (folder / "shim.rb").write_text(SHIM)
        (folder / f"{name}.facts.yaml").write_text(f"---\nhostname: {name}\n")
        (folder / f"{name}.classes").write_text("base\n")
        self.config = folder / f"{name}.cfg"
        self.config.write_text(
            SERVER.format(
                name=name,
                folder=folder,
                psk=psk,
                kind=broker.kind,
                host=broker.host,
                port=broker.port,
                user=broker.user,
                passcode=broker.passcode,
            )
        )
        self.child: Child | None = None

    @property
    def connected(self) -> bool:
        """Whether its log says so."""
        log = self.folder / f"{self.name}.log"
        return log.exists() and CONNECTED in log.read_text(errors="replace")

    def start(self) -> Child:
        """Run it in the foreground, and wait until it is connected."""
        (self.folder / f"{self.name}.log").unlink(missing_ok=True)
        program = shutil.which("mcollectived", path="/usr/sbin:/usr/bin") or "mcollectived"
        argv = ["ruby", program, "--config", self.config, "--no-daemonize"]
        options = {"RUBYOPT": f"-r{self.folder / 'shim.rb'}"}
        child = self.child = Child(argv, self.folder / f"{self.name}.out", options)
        wait_until(lambda: not child.running or self.connected, READY, 0.002)
        if not self.connected:
            raise PeerError(f"mcollectived did not come up:\n{child.tail()}")
        return child

    def stop(self) -> None:
        """End it."""
        if self.child is not None:
            self.child.stop()
            self.child = None
