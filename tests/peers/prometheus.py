"""Debian's Prometheus, and its node exporter with the textfile collector, on free loopback ports."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, Self

import yaml

from tests.peers.processes import Child, PeerError, free_ports, wait_until

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Prometheus", "impatient"]

READY = 60.0
CONFIGURATION = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: ["rules.yml"]
scrape_configs:
  - job_name: node
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus:
    """Both, in a folder of their own; `textfiles` is where `*.prom` are read. A context manager.

    `rules` is the text of a file of rules, looked at once a second, as the targets are.
    """

    def __init__(self, folder: Path, rules: str) -> None:
        self.folder = folder
        self.textfiles = folder / "textfiles"
        self.textfiles.mkdir()
        (folder / "rules.yml").write_text(rules)
        self._exporter_port, self._port = free_ports(2)
        (folder / "prometheus.yml").write_text(CONFIGURATION.format(port=self._exporter_port))
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        exporter = [
            "prometheus-node-exporter",
            f"--web.listen-address=127.0.0.1:{self._exporter_port}",
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={self.textfiles}",
        ]
        server = [
            "prometheus",
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        self._children = [
            Child(argv, self.folder / f"{argv[0]}.log") for argv in (exporter, server)
        ]
        if not wait_until(lambda: bool(self.query('up{job="node"} == 1')), READY):
            tails = "\n".join(child.tail() for child in self._children)
            self.__exit__()
            raise PeerError(f"prometheus did not come up:\n{tails}")
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.stop()

    def query(self, text: str) -> list[tuple[dict[str, str], float]]:
        """What an instant query gives: labels and figure of each series; nothing while it is not up."""
        found = self._get(f"query?{urllib.parse.urlencode({'query': text})}")
        return [(one["metric"], float(one["value"][1])) for one in (found or {}).get("result", ())]

    def firing(self) -> dict[str, dict[str, str]]:
        """The labels of each alert that fires, by its name."""
        alerts = (self._get("alerts") or {}).get("alerts", ())
        return {
            one["labels"]["alertname"]: one["labels"] for one in alerts if one["state"] == "firing"
        }

    def _get(self, path: str) -> Any:
        address = f"http://127.0.0.1:{self._port}/api/v1/{path}"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it is starting
                return None
            raise PeerError(f"{path}: {error.read().decode()}") from error
        except (urllib.error.URLError, ConnectionError):
            return None


def impatient(rules: str, **thresholds: tuple[str, str]) -> str:
    """A copy of rules that fire within seconds: without `for`, and with other thresholds by alert."""
    document = yaml.safe_load(rules)
    for rule in document["groups"][0]["rules"]:
        rule["for"] = "0s"
        if rule["alert"] in thresholds:
            old, new = thresholds[rule["alert"]]
            assert rule["expr"].count(old) == 1, rule["expr"]
            rule["expr"] = rule["expr"].replace(old, new)
    return str(yaml.safe_dump(document))
