"""An Ansible module: a node's configuration, looked at as a whole before any of it is put in place."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from collections.abc import Mapping

DOCUMENTATION = """
module: mcshell_configuration
short_description: A node's configuration, policies and agents, looked at before any of it is put in place
description:
  - The files are first put together in a folder of their own, where C(mcshell policy lint) and C(mcshell node
    --check) look at them. When these find something wrong, nothing is changed.
options:
  folder:
    description: Where they go.
    type: path
    required: true
  files:
    description: What they hold, base64, by their place in the folder - C(node.toml), C(broker.pass), and those of
      C(pki), C(policies) and C(agents).
    type: dict
    required: true
  executable:
    description: Which of them are programs.
    type: list
    elements: str
    default: []
  whole:
    description: Folders in it that hold these files and no others.
    type: list
    elements: str
    default: []
  command:
    description: The C(mcshell) that looks at them.
    type: path
    required: true
"""
RETURN = """
files: {description: The places of those that were changed or removed., returned: always, type: list}
restart: {description: Whether a daemon that runs takes some of them only after a restart., returned: always, type: bool}
"""

CONFIGURATION = "node.toml"
PASSCODE = "broker.pass"
AT_ONCE = ("policies/", "agents/", "pki/crl.pem")
"""How the places begin of what a daemon takes while it runs."""


class TreeFile(NamedTuple):
    """What a file holds, and its mode."""

    text: bytes
    mode: int


def is_secret(place: str) -> bool:
    """Whether a file is in no output."""
    return place == PASSCODE or place.endswith(".key")


def mode_of(place: str, *, executable: bool) -> int:
    """The mode of a file; somebody may have put secrets into node.toml."""
    if place == CONFIGURATION or is_secret(place):
        return 0o600
    return 0o755 if executable else 0o644


def wanted_files(params: Mapping[str, Any]) -> dict[str, TreeFile]:
    """The files as they should be."""
    programs = set(params["executable"])
    return {
        place: TreeFile(base64.b64decode(text), mode_of(place, executable=place in programs))
        for place, text in params["files"].items()
    }


def present_files(
    folder: Path, wanted: Mapping[str, TreeFile], whole: list[str]
) -> dict[str, TreeFile]:
    """The files as they are, surplus ones too; what Python has compiled is not looked at."""
    paths = {folder / place for place in wanted}
    paths.update(path for name in whole for path in (folder / name).rglob("*"))
    return {
        path.relative_to(folder).as_posix(): TreeFile(
            path.read_bytes() if path.is_file() else b"", stat.S_IMODE(path.lstat().st_mode)
        )
        for path in sorted(paths)
        if os.path.lexists(path) and (path.is_symlink() or not path.is_dir())
        if "__pycache__" not in path.parts
    }


def write(folder: Path, place: str, file: TreeFile) -> None:
    """Have a whole file there, or what was there before."""
    path = folder / place
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.new")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(file.text)
        os.fchmod(opened.fileno(), file.mode)
    part.replace(path)


def remove(folder: Path, place: str) -> None:
    """Take a file away, and the folders that held nothing else."""
    path = folder / place
    path.unlink()
    for above in path.relative_to(folder).parents:
        shutil.rmtree(folder / above / "__pycache__", ignore_errors=True)
        if len(above.parts) < 2 or any((folder / above).iterdir()):  # noqa: PLR2004 - policies, agents stay
            return
        (folder / above).rmdir()


def replace(
    folder: Path, whole: list[str], changed: Mapping[str, TreeFile], surplus: list[str]
) -> None:
    """Put what was looked at in place, node.toml last; take away what does not belong there."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    (folder / "pki").mkdir(mode=0o700, exist_ok=True)
    for name in whole:
        (folder / name).mkdir(mode=0o755, exist_ok=True)
    for place in sorted(changed, key=lambda place: place == CONFIGURATION):
        write(folder, place, changed[place])
    for place in surplus:
        remove(folder, place)


def flaws(module: AnsibleModule, words: list[str]) -> list[str]:
    """What mcshell finds wrong, a line each."""
    code, out, err = module.run_command([module.params["command"], "--jsonl", *words])
    if not code:
        return []
    rows = [json.loads(line) for line in out.splitlines()]
    said = [": ".join(str(one) for one in row.values() if one is not None) for row in rows]
    return said or [err.strip()]


def look(module: AnsibleModule, wanted: Mapping[str, TreeFile]) -> None:
    """End here when something is wrong with the files; they lie where they do no harm."""
    if module.check_mode and not os.access(module.params["command"], os.X_OK):
        return  # a dry run has not installed it
    staged = Path(module.tmpdir) / "staged"
    for name in module.params["whole"]:
        (staged / name).mkdir(parents=True)
    for place, file in wanted.items():
        write(staged, place, file)
    if not (staged / "pki").exists():  # the machine has enrolled
        (staged / "pki").symlink_to(Path(module.params["folder"]) / "pki")
    found: list[str] = []
    if "policies" in module.params["whole"]:
        found = flaws(module, ["policy", "lint", str(staged / "policies")])
    doubts = flaws(module, ["node", "--config", str(staged / CONFIGURATION), "--check"])
    shutil.rmtree(staged)
    told = [line.replace(f"{staged}/", "") for line in found or doubts]
    if module.check_mode and not found:
        for line in told:  # it may be about what a dry run has not brought
            module.warn(line)
    elif told:
        module.fail_json(msg="\n".join(["nothing is replaced:", *told]), wrong=told)


def difference(place: str, before: TreeFile | None, after: TreeFile | None) -> dict[str, str]:
    """What `--diff` shows of a file."""
    heads = [place if one is None else f"{place} ({one.mode:04o})" for one in (before, after)]
    shown = {"before_header": heads[0], "after_header": heads[1]}
    if is_secret(place):
        return {**shown, "before": "", "after": "(a secret)\n"}
    texts = ["" if one is None else one.text.decode(errors="replace") for one in (before, after)]
    return {**shown, "before": texts[0], "after": texts[1]}


def main() -> None:
    """Compare, look, replace."""
    module = AnsibleModule(
        {
            "folder": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True, "no_log": True},  # nor in the machine's log
            "executable": {"type": "list", "elements": "str", "default": []},
            "whole": {"type": "list", "elements": "str", "default": []},
            "command": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    folder, whole = Path(module.params["folder"]), module.params["whole"]
    try:
        wanted = wanted_files(module.params)
        present = present_files(folder, wanted, whole)
        look(module, wanted)
        changed = [place for place, file in wanted.items() if present.get(place) != file]
        surplus = [place for place in present if place not in wanted]
        if not module.check_mode:
            replace(folder, whole, {place: wanted[place] for place in changed}, surplus)
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    touched = [*changed, *surplus]
    module.exit_json(
        changed=bool(touched),
        files=touched,
        restart=any(not one.startswith(AT_ONCE) for one in touched),
        diff=[difference(one, present.get(one), wanted.get(one)) for one in touched],
    )


if __name__ == "__main__":
    main()
