"""ActiveMQ 6 in a folder, for tests beside Debian's 5.17:

    python -m tests.peers.activemq_6 FOLDER

and ACTIVEMQ_HOME=FOLDER starts that one. Its jars are those that PyPI's jmspy brings along. They are
without two parts that a login and an XML configuration take: ActiveMQ's JAAS module, whose classes
have not changed since, and commons-logging. Both are Debian's (package activemq, that is 5.17).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

WHEEL = "jmspy==0.1.1"
JAVA = Path("/usr/share/java")
BORROWED = ("activemq-jaas.jar", "commons-logging.jar")
MAIN = "org.apache.activemq.console.Main"
WIDEST = 70  # bytes of a line in a manifest


def make(home: Path) -> None:
    """Get the jars, unless they are there, and write the jar that `-jar` is given."""
    lib = home / "lib"
    if not list(lib.glob("activemq-all-*.jar")):
        lib.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            subprocess.run([*pip, "--dest", folder, WHEEL], check=True)
            (wheel,) = Path(folder).glob("*.whl")
            with zipfile.ZipFile(wheel) as packed:
                for name in packed.namelist():
                    if name.endswith(".jar"):
                        (lib / Path(name).name).write_bytes(packed.read(name))
    for name in BORROWED:
        shutil.copyfile(JAVA / name, lib / name)
    (home / "bin").mkdir(exist_ok=True)
    (found,) = lib.glob("activemq-all-*.jar")
    version = found.stem.removeprefix("activemq-all-")
    with zipfile.ZipFile(home / "bin" / "activemq.jar", "w") as runs:
        runs.writestr("META-INF/MANIFEST.MF", manifest(version, sorted(lib.glob("*.jar"))))


def manifest(version: str, jars: Iterable[Path]) -> str:
    """A manifest that says the version, the class to run and all jars."""
    said = {
        "Manifest-Version": "1.0",
        "Implementation-Version": version,
        "Main-Class": MAIN,
        "Class-Path": " ".join(f"../lib/{jar.name}" for jar in jars),
    }
    heads = [f"{name}: {value}" for name, value in said.items()]
    folded = [
        "\n ".join(head[start : start + WIDEST] for start in range(0, len(head), WIDEST))
        for head in heads
    ]
    return "\n".join([*folded, "", ""])


if __name__ == "__main__":
    make(Path(sys.argv[1]).absolute())
