"""What `broker config` reads where another CA issues the certificates: its files, at the edge."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcshell.errors import ConfigError, MCShellError, UsageError
from mcshell.private import read_obeyed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcshell.broker.config.foreign import ForeignCA
    from mcshell.commands.grammar.local_options import BrokerConfigOptions

__all__ = ["changed_since", "read_foreign", "said_of"]

_NEEDED: Final = ("ca", "cert", "key", "identities")
_TOLD: Final = 8
_SUFFIXES: Final = (".pem", ".crt", ".cer")


def said_of(options: BrokerConfigOptions) -> dict[str, Any]:
    """What the line says of another CA, its paths so that they hold from everywhere.

    Raises:
        UsageError: it names a CA of mcshell's, too.
    """
    from mcshell.broker.config.options import OF_ANOTHER_CA  # noqa: PLC0415 - cryptography is slow to load

    said: dict[str, Any] = {
        name: str(Path(value).absolute())
        for name in OF_ANOTHER_CA
        if name != "identities" and (value := getattr(options, name)) is not None
    }
    if options.identities:
        said["identities"] = [str(Path(one).absolute()) for one in options.identities]
    if said and options.pki is not None:
        raise UsageError(
            f"--pki and --{next(iter(said))}: a CA of mcshell's, or another's certificates"
        )
    return said


def read_foreign(wanted: Mapping[str, Any], operators: Sequence[str]) -> ForeignCA | None:
    """The CA that the options name; None where they name none.

    Raises:
        UsageError: some of the options are missing.
        ConfigError: a file cannot be read or used.
    """
    from mcshell.broker.config import foreign  # noqa: PLC0415 - cryptography is slow to load
    from mcshell.broker.config.options import OF_ANOTHER_CA  # noqa: PLC0415 - as above
    from mcshell.pki import read_private  # noqa: PLC0415 - as above

    if not any(name in wanted for name in OF_ANOTHER_CA):
        return None
    if missing := [f"--{name}" for name in _NEEDED if name not in wanted]:
        raise UsageError(
            f"{', '.join(missing)} missing: another CA's certificates want --ca, --cert, --key and"
            " --identities"
        )
    certificates, names = [], []
    for path in _shown(wanted["identities"]):
        try:
            found = foreign.certificates_in(_read(path))
            certificates += found
            # a certificate is the CA's word, whoever keeps it; a list of names is only a file's
            names += [] if found else foreign.names_in(_text(path))
        except ConfigError as error:
            raise _about(path, error) from error
    files = foreign.ForeignFiles(
        ca=_obeyed(Path(wanted["ca"])),
        cert=_read(Path(wanted["cert"])),
        key=read_private(wanted["key"]),
        crl=_read(Path(wanted["crl"])) if "crl" in wanted else None,
        certificates=tuple(certificates),
        names=tuple(names),
    )
    return foreign.foreign_ca(files, operators, time.time())


def changed_since(record: Mapping[str, Any], operators: Sequence[str]) -> str:
    """Who has rights at a broker and should not, or should and has not; "" where the files are elsewhere."""
    options = record.get("options") or {}
    places = [options.get(name) for name in ("ca", "cert", "key")] + options.get("identities", [])
    if not all(place and Path(place).exists() for place in places):
        return ""
    found = read_foreign(options, operators)
    now = {f"{kind}:{name}" for kind, name in found.known} if found else set()
    written = set(record["identities"])
    told = [f"{name} has no rights yet" for name in sorted(now - written)]
    told += [f"{name} has rights still" for name in sorted(written - now)]
    return ", ".join(told[:_TOLD]) + (f" and {len(told) - _TOLD} more" if told[_TOLD:] else "")


def _shown(paths: Sequence[str]) -> list[Path]:
    """The files, and those in the folders that are called as certificates are."""
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(one for one in path.iterdir() if one.suffix in _SUFFIXES)
        if not inside:
            raise ConfigError(f"{path}: no {', '.join(_SUFFIXES)} in it", origin=str(path))
        found += inside
    return found


def _text(path: Path) -> str:
    try:
        return _obeyed(path).decode()
    except UnicodeDecodeError:
        raise ConfigError("neither certificates in PEM nor a list of names") from None


def _obeyed(path: Path) -> bytes:
    """What others could not have changed."""
    try:
        return read_obeyed(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", origin=str(path)) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", origin=str(path)) from error


def _about(path: Path, error: MCShellError) -> ConfigError:
    """Name the file, once."""
    text = str(error)
    return ConfigError(text if str(path) in text else f"{path}: {text}", origin=str(path))
