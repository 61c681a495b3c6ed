"""Real brokers for the tests: the embedded one, ActiveMQ and RabbitMQ, as child processes.

Each runs on free loopback ports with its data in a directory of its own, under a login, and with
a second listener that demands TLS with a client certificate. System services are not touched.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from xml.sax.saxutils import quoteattr

from tests.peers.processes import Child, PeerError, free_ports, said, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "KINDS",
    "ActiveMQ",
    "Broker",
    "Configured",
    "Embedded",
    "RabbitMQ",
    "greet",
    "missing",
    "start",
]

USER, PASSCODE = "mcs", "mcs-secret"
READY = 100.0  # seconds: RabbitMQ takes 10 on an idle machine
LARGEST = 16 << 20  # bytes of a frame
YOUNG = 3.0  # seconds
KEYSTORE = "changeit"
JAVASCRIPT = Path(__file__).resolve().parents[1] / "protocol" / "js"
RUBY_GEMS = Path("/usr/share/rubygems-integration/all/gems")
ACTIVEMQ = Path(os.environ.get("ACTIVEMQ_HOME", "/usr/share/activemq")) / "bin" / "activemq.jar"
"""Debian's, or another version's (`activemq_6`)."""
RABBITMQ = Path(os.environ.get("RABBITMQ_BIN", "/usr/lib/rabbitmq/bin")) / "rabbitmq-server"
"""The script itself, not what Debian puts before it; that of another suite by `rabbitmq_of`."""


def greet(host: str, port: int, user: str, passcode: str, tls: ssl.SSLContext | None = None) -> str:
    """Log in with a bare socket; return the first line of the answer, "" when there was none."""
    try:
        with socket.create_connection((host, port), 2) as plain:
            sock = tls.wrap_socket(plain, server_hostname=host) if tls else plain
            with sock:
                sock.sendall(
                    b"CONNECT\naccept-version:1.2\nhost:/\n"
                    + (f"login:{user}\npasscode:{passcode}\n" if user else "").encode()
                    + b"\n\0"
                )
                return sock.recv(4096).partition(b"\n")[0].decode(errors="replace")
    except OSError:
        return ""


@dataclass
class Broker:
    """A running broker. `url` is plain STOMP, `tls_url` demands a certificate of `pki`'s CA."""

    directory: Path
    pki: Path
    user: str = USER
    passcode: str = PASSCODE
    host: str = "127.0.0.1"
    port: int = 0
    tls_port: int = 0
    more: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Environment that its processes have beside ours."""
    child: Child | None = field(default=None, repr=False)
    kind: ClassVar[str] = ""
    package: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Choose the ports, which stay the same over restarts, and write the configuration."""
        self.port, self.tls_port, *self._ports = free_ports(6)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.configure()
        self.restart()

    @property
    def url(self) -> str:
        """Where plain STOMP is spoken."""
        return f"stomp://{self.host}:{self.port}"

    @property
    def tls_url(self) -> str:
        """Where STOMP is spoken over TLS, with client certificates only."""
        return f"stomp+ssl://{self.host}:{self.tls_port}"

    @property
    def log(self) -> Path:
        """What the broker wrote."""
        return self.directory / "log"

    @property
    def pid(self) -> int:
        """The broker's own process (not a script around it)."""
        assert self.child is not None, f"{self.kind} does not run"
        return self.child.pid

    def configure(self) -> None:
        """Write what the broker reads at its start."""

    def launch(self) -> Child:
        """Start the processes."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether both listeners serve."""
        tls = ssl.create_default_context(cafile=str(self.pki / "ca.pem"))
        tls.load_cert_chain(self.pki / "alice.pem", self.pki / "alice.key")
        return all(
            greet(self.host, port, self.user, self.passcode, context) == "CONNECTED"
            for port, context in ((self.port, None), (self.tls_port, tls))
        )

    def restart(self) -> None:
        """Start it again on the same ports and data; it is stopped before when it runs."""
        if self.child is not None:
            self.stop()
        child = self.child = self.launch()
        if not wait_until(lambda: not child.running or self.ready(), READY) or not child.running:
            tail = child.tail()
            self.stop()
            raise PeerError(f"{self.kind} did not come up:\n{tail}")

    def kill9(self) -> None:
        """Kill it without a warning."""
        assert self.child is not None, f"{self.kind} does not run"
        self.child.kill9()
        self.child = None

    def pause(self) -> None:
        """Stop its process (SIGSTOP): connections stand, and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it cleanly, at last with a kill; nothing happens when it does not run."""
        if self.child is not None:
            self.child.stop(pid=self.pid)
            self.child = None


class Embedded(Broker):
    """mcshell's own broker: a process, and beside it a second one that speaks TLS.

    It has one listener a process, so the TLS one is another broker with queues of its own.
    """

    kind = "embedded"

    def configure(self) -> None:
        """Write the passcode's file."""
        secret = self.directory / "passcode"
        secret.touch(mode=0o600)
        secret.write_text(self.passcode + "\n")
        self._tls_child: Child | None = None

    def launch(self) -> Child:
        """Run the module as `mcshell broker` does."""
        tls = {
            "tls-ca": self.pki / "ca.pem",
            "tls-cert": self.pki / "server.pem",
            "tls-key": self.pki / "server.key",
        }
        self._tls_child = self._serve(self.tls_port, "tls", tls)
        return self._serve(self.port, "data", {})

    def _serve(self, port: int, folder: str, more: Mapping[str, object]) -> Child:
        options: dict[str, object] = {
            "listen": f"{self.host}:{port}",
            "data": self.directory / folder,
            "user": self.user,
            "passcode-file": self.directory / "passcode",
        }
        argv = [sys.executable, "-m", "mcshell.broker", *_options({**options, **more})]
        return Child(argv, self.log, self.more)

    def kill9(self) -> None:
        """Kill both without a warning."""
        super().kill9()
        if self._tls_child is not None:
            self._tls_child.kill9()
            self._tls_child = None

    def stop(self) -> None:
        """End both."""
        super().stop()
        if self._tls_child is not None:
            self._tls_child.stop()
            self._tls_child = None


def _options(options: Mapping[str, object]) -> list[str]:
    """Write `{"key-store": x}` as `--key-store x`."""
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


# ActiveMQ looks for expired messages in a thread that reads pages of 200 like the one that hands
# out, and either may be first with its page: a queue keeps its order only where nothing is looked
# for. Of 40 bursts of 5,000 at a load, 2 were out of order at a search each 20 ms, none without.
ACTIVEMQ_XML = """\
<beans xmlns="http://www.springframework.org/schema/beans"
       xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
       xsi:schemaLocation="http://www.springframework.org/schema/beans
         http://www.springframework.org/schema/beans/spring-beans.xsd
         http://activemq.apache.org/schema/core
         http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="test" useJmx="false"
          dataDirectory={data} schedulePeriodForDestinationPurge="0">
    <destinationPolicy><policyMap><policyEntries>
      <policyEntry queue="&gt;" expireMessagesPeriod="1000" producerFlowControl="false"
                   persistJMSRedelivered="true">
        <deadLetterStrategy><sharedDeadLetterStrategy processExpired="false"/></deadLetterStrategy>
      </policyEntry>
      <policyEntry queue="unexpired.&gt;" expireMessagesPeriod="0" producerFlowControl="false"/>
      <policyEntry topic="&gt;" producerFlowControl="false"/>
    </policyEntries></policyMap></destinationPolicy>
    <persistenceAdapter><kahaDB directory={kahadb}/></persistenceAdapter>
    <plugins><simpleAuthenticationPlugin><users>
      <authenticationUser username={user} password={passcode} groups="everyone"/>
    </users></simpleAuthenticationPlugin></plugins>
    <sslContext><sslContext keyStore={keystore} keyStorePassword={secret} keyStoreType="PKCS12"
      trustStore={truststore} trustStorePassword={secret} trustStoreType="PKCS12"/></sslContext>
    <systemUsage><systemUsage>
      <memoryUsage><memoryUsage limit="128 mb"/></memoryUsage>
      <storeUsage><storeUsage limit="4 gb"/></storeUsage>
      <tempUsage><tempUsage limit="1 gb"/></tempUsage>
    </systemUsage></systemUsage>
    <transportConnectors>
      <transportConnector name="stomp" uri={plain}/>
      <transportConnector name="stomp+ssl" uri={tls}/>
    </transportConnectors>
  </broker>
</beans>
"""
LOG4J2 = """\
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c - %m%n
"""
LOG4J = """\
log4j.rootLogger=WARN, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %c - %m%n
"""


class ActiveMQ(Broker):
    """ActiveMQ Classic from Debian's package, or from ACTIVEMQ_HOME."""

    kind = "activemq"
    package = "activemq"

    def configure(self) -> None:
        """Write the XML, the logger's properties and the two keystores."""
        for folder in ("conf", "data", "tmp"):
            (self.directory / folder).mkdir(exist_ok=True)
        conf = self.directory / "conf"
        self._keystores(conf)
        # Nagle off, or each small frame waits for the client's delayed ACK
        common = "transport.tcpNoDelay=true"
        xml = {
            "data": str(self.directory / "data"),
            "kahadb": str(self.directory / "data" / "kahadb"),
            "user": self.user,
            "passcode": self.passcode,
            "keystore": f"file:{conf / 'server.p12'}",
            "truststore": f"file:{conf / 'trust.p12'}",
            "secret": KEYSTORE,
            "plain": f"stomp+nio://{self.host}:{self.port}?{common}",
            "tls": f"stomp+nio+ssl://{self.host}:{self.tls_port}?needClientAuth=true&{common}",
        }
        text = ACTIVEMQ_XML.format_map({name: quoteattr(value) for name, value in xml.items()})
        (conf / "activemq.xml").write_text(text)
        (conf / "log4j.properties").write_text(LOG4J)
        (conf / "log4j2.properties").write_text(LOG4J2)  # ActiveMQ 6 reads this one

    def _keystores(self, conf: Path) -> None:
        """Turn the PEM files into what Java reads."""
        own: dict[str, str | Path] = {
            "-in": self.pki / "server.pem",
            "-inkey": self.pki / "server.key",
        }
        trusted: dict[str, str | Path] = {
            "-alias": "ca",
            "-file": self.pki / "ca.pem",
            "-storetype": "PKCS12",
        }
        own |= {"-out": conf / "server.p12", "-passout": f"pass:{KEYSTORE}"}
        trusted |= {"-keystore": conf / "trust.p12", "-storepass": KEYSTORE}
        for argv, options in (
            (["openssl", "pkcs12", "-export"], own),
            (["keytool", "-importcert", "-noprompt"], trusted),
        ):
            words = [str(word) for pair in options.items() for word in pair]
            subprocess.run([*argv, *words], check=True, capture_output=True, timeout=60)

    def launch(self) -> Child:
        """Run the jar, past Debian's script, which wants instances and `su`."""
        base = self.directory
        opens = [f"--add-opens=java.base/java.{p}=ALL-UNNAMED" for p in ("lang", "util", "net")]
        settings = {
            "java.io.tmpdir": base / "tmp",
            "java.awt.headless": "true",
            "java.net.preferIPv4Stack": "true",
            "activemq.home": ACTIVEMQ.parent.parent,
            "activemq.base": base,
            "activemq.conf": base / "conf",
            "activemq.data": base / "data",
            "activemq.classpath": base / "conf",
            "log4j.configuration": f"file:{base}/conf/log4j.properties",
            "log4j2.configurationFile": base / "conf" / "log4j2.properties",
        }
        # one compiler tier and the serial collector: quick to start, and small
        options = ["-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *opens]
        options += [f"-D{name}={value}" for name, value in settings.items()]
        conf = f"xbean:file:{base}/conf/activemq.xml"
        return Child(["java", *options, "-jar", str(ACTIVEMQ), "start", conf], self.log, self.more)


class RabbitMQ(Broker):
    """RabbitMQ from Debian's package, with an epmd of its own."""

    kind = "rabbitmq"
    package = "rabbitmq-server"

    def configure(self) -> None:
        """Write rabbitmq.conf and the list of plugins."""
        amqp, self._dist, self._epmd = self._ports[:3]
        conf = {
            "listeners.tcp.1": f"{self.host}:{amqp}",
            "stomp.listeners.tcp.1": f"{self.host}:{self.port}",
            "stomp.listeners.ssl.1": f"{self.host}:{self.tls_port}",
            "ssl_options.cacertfile": self.pki / "ca.pem",
            "ssl_options.certfile": self.pki / "server.pem",
            "ssl_options.keyfile": self.pki / "server.key",
            "ssl_options.verify": "verify_peer",
            "ssl_options.fail_if_no_peer_cert": "true",
            "default_user": self.user,
            "default_pass": self.passcode,
            "loopback_users": "none",
            "log.console": "true",
            "log.console.level": "warning",
        }
        text = "".join(f"{name} = {value}\n" for name, value in conf.items())
        (self.directory / "rabbitmq.conf").write_text(text)
        # From 3.13 on a frame has a limit of its own, and an earlier one does not know the key.
        (self.directory / "advanced.config").write_text(
            f"[{{rabbitmq_stomp, [{{max_frame_size, {LARGEST}}}]}}].\n"
        )
        (self.directory / "enabled_plugins").write_text("[rabbitmq_stomp].\n")
        self._epmd_child: Child | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """What `rabbitmqctl` needs too, to speak to this instance."""
        base = str(self.directory)
        return {
            "HOME": base,
            "ERL_CRASH_DUMP": f"{base}/erl_crash.dump",
            "ERL_EPMD_ADDRESS": self.host,
            "ERL_EPMD_PORT": str(self._epmd),
            "RABBITMQ_NODENAME": f"mcs{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._dist),
            "RABBITMQ_MNESIA_BASE": f"{base}/mnesia",
            "RABBITMQ_LOG_BASE": f"{base}/logs",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": f"{base}/rabbitmq",
            "RABBITMQ_CONF_ENV_FILE": f"{base}/none",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{base}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{base}/enabled_plugins",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{base}/schema",
            "RABBITMQ_PID_FILE": f"{base}/beam.pid",
            "RABBITMQ_ALLOW_INPUT": "1",  # the script becomes the broker instead of minding it
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-noinput +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
                " -kernel inet_dist_use_interface {127,0,0,1}"
            ),
        }

    def launch(self) -> Child:
        """Start epmd (which outlives a killed broker) and the broker."""
        for folder in ("mnesia", "logs", "schema"):
            (self.directory / folder).mkdir(exist_ok=True)
        if self._epmd_child is None:
            argv = ["epmd", "-address", "127.0.0.1", "-port", str(self._epmd)]
            self._epmd_child = Child(argv, self.directory / "epmd.log")
        return Child([RABBITMQ], self.log, {**self.environment, **self.more})

    def kill9(self) -> None:
        """Kill it without a warning, once its queues are safe: of one just made it loses all.

        Measured on 3.10: one kill in four, right after the queue was made, lost a hundred messages
        with receipts. What it has written of its queues is in a buffer of its own for two seconds.
        """
        time.sleep(YOUNG)
        super().kill9()

    @property
    def pid(self) -> int:
        """The Erlang VM's pid."""
        assert self.child is not None, "rabbitmq does not run"
        for process in self.child.family():
            if process.name() == "beam.smp":
                return process.pid
        return self.child.pid

    def stop(self) -> None:
        """End the broker, then its epmd."""
        super().stop()
        if self._epmd_child is not None:
            self._epmd_child.stop()
            self._epmd_child = None


class Configured(Broker):
    """A broker run by the command that `mcshell broker config` printed, and nothing else.

    It has TLS only, and the certificate is the login. `pki` holds `ca.pem` and alice's files;
    `environ` is what else the command is to find in its environment.
    """

    def __init__(
        self,
        kind: str,
        command: str,
        port: int,
        pki: Path,
        *,
        host: str = "127.0.0.1",
        **environ: str,
    ) -> None:
        self.kind, self.package = kind, KINDS[kind].package  # type: ignore[misc] # as instance
        self._command = command
        self._epmd: Child | None = None
        epmd, dist = free_ports(2)
        self._environ = {
            "JAVA_OPTIONS": "-Xms64m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1",
            "ERL_EPMD_PORT": str(epmd),
            "RABBITMQ_DIST_PORT": str(dist),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
            **environ,
        }
        folder = Path(command).parent
        super().__init__(folder, pki, user="", passcode="", host=host, tls_port=port)

    def __post_init__(self) -> None:
        """Start it; the configuration and its port are there."""
        self.restart()

    @property
    def environment(self) -> Mapping[str, str]:
        """What its other commands (`ctl`, `reload`) need, to find this instance's ports."""
        return {**os.environ, **self._environ}

    def command(self, name: str, *words: str) -> str:
        """Run one of its other commands; returns what it printed."""
        return said(self.directory / name, *words, **self._environ)

    def launch(self) -> Child:
        """Run the command as an administrator would; RabbitMQ's epmd is ours, so that it ends."""
        if self.kind == "rabbitmq" and self._epmd is None:
            argv = ["epmd", "-address", "127.0.0.1", "-port", self._environ["ERL_EPMD_PORT"]]
            self._epmd = Child(argv, self.directory / "epmd.log")
        return Child(["sh", "-c", f"exec {self._command}"], self.log, self._environ)

    @property
    def pid(self) -> int:
        """The broker's own process; ActiveMQ's `start` minds one."""
        assert self.child is not None, f"{self.kind} does not run"
        found = (one.pid for one in self.child.family() if one.name() in ("java", "beam.smp"))
        return next(found, self.child.pid)

    @property
    def log(self) -> Path:
        """What the broker wrote (RabbitMQ has a folder called log)."""
        return self.directory / "start.log"

    def ready(self) -> bool:
        """Whether it takes alice in."""
        tls = ssl.create_default_context(cafile=str(self.pki / "ca.pem"))
        tls.load_cert_chain(self.pki / "alice.pem", self.pki / "alice.key")
        return greet(self.host, self.tls_port, "", "", tls) == "CONNECTED"

    def stop(self) -> None:
        """End the broker, then its epmd."""
        super().stop()
        if self._epmd is not None:
            self._epmd.stop()
            self._epmd = None


KINDS: dict[str, type[Broker]] = {"embedded": Embedded, "activemq": ActiveMQ, "rabbitmq": RabbitMQ}


def missing(kind: str) -> str:
    """The Debian package that is not there for this kind of peer, "" when all is."""
    needs = {
        "embedded": ("", True),
        "activemq": ("activemq", ACTIVEMQ.exists() and bool(shutil.which("java"))),
        "rabbitmq": ("rabbitmq-server", RABBITMQ.exists() and bool(shutil.which("epmd"))),
        "mcollective": (
            "mcollective",
            bool(shutil.which("mcollectived") and shutil.which("mco")),
        ),
        "gcc": ("gcc and libc6-dev", bool(shutil.which("gcc"))),
        "softhsm": ("softhsm2", bool(shutil.which("softhsm2-util"))),
        "prometheus": (
            "prometheus and prometheus-node-exporter",
            all(map(shutil.which, ("prometheus", "promtool", "prometheus-node-exporter"))),
        ),
        "puppet": (
            "puppet and ruby-puppetserver-ca-cli",
            bool(shutil.which("puppet") and any(RUBY_GEMS.glob("puppetserver-ca-*"))),
        ),
        "sudo": ("sudo", bool(shutil.which("sudo"))),
        "tmux": ("tmux", bool(shutil.which("tmux"))),
        "zsh": ("zsh", bool(shutil.which("zsh"))),
        "fish": ("fish", bool(shutil.which("fish"))),
        "chromium": (
            "chromium (and PyPI's playwright and jupyterlab)",
            bool(shutil.which("chromium") and find_spec("playwright") and find_spec("jupyterlab")),
        ),
        "nodejs": (
            "nodejs and npm (and `npm ci` in tests/protocol/js)",
            bool(shutil.which("node") and (JAVASCRIPT / "node_modules" / "@stomp").is_dir()),
        ),
    }
    package, there = needs[kind]
    return "" if there else package


def start(kind: str, directory: Path, pki: Path) -> Broker:
    """Start a broker of this kind; raises PeerError with its log when it does not come up."""
    return KINDS[kind](directory, pki)
