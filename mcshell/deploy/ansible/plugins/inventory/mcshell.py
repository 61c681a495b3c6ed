"""Ansible's inventory of mcshell's nodes: who answers, with what each says of itself."""

from __future__ import annotations

import re
from typing import Any, Final

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.utils.unsafe_proxy import wrap_var
from ansible_collections.mcshell.mcshell.plugins.plugin_utils.shared_client import SharedClient

DOCUMENTATION = r"""
name: mcshell
author: the mcshell founders
short_description: mcshell's nodes as hosts, their facts as variables
description:
  - The hosts are the nodes that a filter of mcshell's finds, and those that C(nodes) names. The file's name ends with
    C(mcshell.yml) or C(mcshell.yaml).
  - What a node says of itself is in C(mcshell_facts), C(mcshell_classes), C(mcshell_agents), C(mcshell_collectives) and
    C(mcshell_version), and nowhere else. It is never a template, and no fact is a variable of Ansible's.
  - A node that is named and does not answer is a host, too; C(mcshell_state) and C(mcshell_reason) say of each how it is.
  - A node whose name Ansible would take for something else is left out, with a warning.
extends_documentation_fragment:
  - constructed
  - inventory_cache
options:
  plugin:
    description: Says that it is this plugin's file.
    required: true
    choices: [mcshell.mcshell.mcshell]
  where:
    description: A filter of mcshell's language, such as C(role=web and not site=ams).
    type: str
  facts:
    description: Filters of one fact each, such as C(os.name=Debian); all have to match.
    type: list
    elements: str
    default: []
  classes:
    description: Classes that nodes have to have.
    type: list
    elements: str
    default: []
  agents:
    description: Agents that nodes have to have.
    type: list
    elements: str
    default: []
  nodes:
    description: Names or ranges, such as C(web[01-40]), which are hosts whether they answer or not.
    type: list
    elements: str
  connect:
    description: Whether tasks go to these hosts over mcshell; else C(ansible_connection) is not set.
    type: bool
    default: true
  config:
    description: The operator's configuration file; by default the one that C(mcshell) reads.
    type: path
  session:
    description: The session in which all that is asked is kept; by default a scratch one.
    type: str
  collective:
    description: The collective in which nodes are asked; by default the configuration's main one.
    type: str
  persist:
    description: Seconds that the connection to the broker stays open when nobody uses it.
    type: float
    default: 60
"""

EXAMPLES = r"""
plugin: mcshell.mcshell.mcshell
where: environment=production
keyed_groups:
  - key: mcshell_facts.role
    prefix: role
  - key: mcshell_classes
    prefix: class
groups:
  debian: mcshell_facts.os.name == 'Debian'
compose:
  rack: mcshell_facts.rack | default('unknown')
"""

_NAME: Final = re.compile(r"\w[\w.+-]*")
_TAKEN: Final = frozenset({"all", "ungrouped", "localhost"})
_TOLD: Final = ("facts", "classes", "agents", "collectives", "version")
_FILTER: Final = ("where", "facts", "classes", "agents", "nodes", "collective")


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):  # type: ignore[misc] # Ansible is there when it runs
    """Reads a file that says which nodes are meant."""

    NAME = "mcshell.mcshell.mcshell"

    def verify_file(self, path: str) -> bool:
        """Whether a file is for us, by its name."""
        return super().verify_file(path) and path.endswith(("mcshell.yml", "mcshell.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:  # noqa: FBT001, FBT002 - Ansible's
        """Ask the nodes, or look into the cache, and add a host for each."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        self.load_cache_plugin()
        key = self.get_cache_key(path)
        keeps = self.get_option("cache")
        rows = self._cache.get(key) if keeps and cache else None
        if rows is None:
            rows = self._asked()
            if keeps:
                self._cache[key] = rows
        for row in rows:
            self._add(row)

    def _asked(self) -> list[dict[str, Any]]:
        options = {name: self.get_option(name) for name in _FILTER}
        client = SharedClient(*map(self.get_option, ("config", "session", "persist")))
        try:
            return list(client.ask("inventory", **options)["nodes"])
        except AnsibleError as error:
            raise AnsibleParserError(f"mcshell: {error}") from error

    def _add(self, row: dict[str, Any]) -> None:
        """Add a host, its variables and its groups."""
        name = row["node"]
        if not _NAME.fullmatch(name) or name in _TAKEN or name.replace(".", "").isdecimal():
            self.display.warning(f"mcshell: node {name!r} is left out: no name for a host")
            return
        if row["state"] != "ok":
            self.display.warning(f"mcshell: {name} is {row['state']}: {row['reason']}")
        data = row["data"]
        told = {f"mcshell_{one}": data[one] for one in _TOLD if one in data}
        said = {"mcshell_state": row["state"], "mcshell_reason": row["reason"], **told}
        variables = {one: wrap_var(value) for one, value in said.items()}
        self.inventory.add_host(name)
        for one, value in {**self._reached(name), **variables}.items():
            self.inventory.set_variable(name, one, value)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict)

    def _reached(self, name: str) -> dict[str, Any]:
        """What has its tasks go to it."""
        if not self.get_option("connect"):
            return {}
        given = {
            one: self.get_option(one) for one in ("config", "session", "collective", "persist")
        }
        return {
            "ansible_connection": "mcshell.mcshell.mcshell",
            "mcshell_node": name,
            **{f"mcshell_{one}": value for one, value in given.items() if value is not None},
        }
