"""The agents that Puppet Labs has shipped, on a real mcollectived, beside those of ours.

They come with no package that a test could install: `MCSHELL_REAL_AGENTS` names a libdir with
mcollective-package-agent and mcollective-service-agent (agent, util, validator and data plugins; of the
package agent's providers none asks dpkg without Puppet, so that one is written here).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcshell.message import State
from tests.mcollective.interop.conftest import fleet_beside
from tests.mcollective.interop.network import Pair
from tests.peers.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcshell.client.client import Client
    from tests.mcollective.interop.network import Network

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]
PLACE = "MCSHELL_REAL_AGENTS"
THEIRS, OURS = "node0001", "ours0001"
DPKG = """
module MCollective
  module Util
    module Package
      class DpkgPackage < Base
        def status
          version = `dpkg-query -W -f '${Version}' #{@package}`
          {:ensure => version, :version => version, :name => @package, :provider => 'dpkg'}
        end
      end
    end
  end
end
"""
PROVIDERS = "plugin.package.provider = dpkg\nplugin.service.provider = service\n"


@pytest.fixture(scope="module")
def libdir() -> Path:
    """Where the agents are."""
    if PLACE not in os.environ:
        pytest.skip(f"{PLACE} names no libdir with the package and service agents")
    return Path(os.environ[PLACE])


@pytest.fixture(scope="module")
def client(
    networks: Callable[..., Network], libdir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """The operator of one real node with the real agents, and one of ours."""
    folder = tmp_path_factory.mktemp("real-agents")
    provider = folder / "libdir" / "mcollective" / "util" / "package" / "dpkgpackage.rb"
    provider.parent.mkdir(parents=True)
    provider.write_text(DPKG)
    plugins = [libdir, folder / "libdir"]
    network = networks("activemq", Pair(), 1, plugins=plugins, settings=PROVIDERS)
    with fleet_beside(network.broker, folder, network, 1) as fleet:
        fleet.start()
        with fleet.client() as client:

            def told() -> bool:
                client.discover()
                return len(client.known.schemas(client.settings.collective.main, "service")) == 2

            assert wait_until(told, 60)
            yield client


def test_package_status_reaches_both(client: Client) -> None:
    """Each answers by its own schema with what dpkg knows."""
    rows = {
        row.sender: row
        for row in client.rpc("package", "status", name="bash", package="bash").rows()
    }
    assert rows.keys() == {THEIRS, OURS}
    assert {row.state for row in rows.values()} == {State.OK}, rows
    assert rows[THEIRS].trust == "psk"
    query = ["dpkg-query", "-W", "-f", "${Version}", "bash"]
    version = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    assert rows[THEIRS].data["ensure"] == version
    assert rows[OURS].data["version"] == version


def test_one_input_reaches_its_kind(client: Client) -> None:
    """The other kind is a row that says why it was not asked."""
    rows = {row.sender: row for row in client.rpc("package", "status", package="bash").rows()}
    assert (rows[THEIRS].state, rows[OURS].state) == (State.OK, State.SILENT)
    assert "has no input 'package'" in rows[OURS].statusmsg


def test_service_status_is_asked_of_both(client: Client) -> None:
    """Each agent is asked with its own input, and answers of a service that is not there."""
    asked = client.rpc("service", "status", name="nothing.service", service="nothing")
    rows = {row.sender: row for row in asked.rows()}
    assert rows.keys() == {THEIRS, OURS}
    assert all(row.statuscode is not None for row in rows.values()), rows
