"""The files of an embedded server: which server wrote them, and which servers can read them.

A server that cannot read the files must never start on them. Some servers refuse and recommend a
repair tool that would do harm; redis 6.2 does not read `appendonlydir` and shows an empty archive.
The writer is known from two places: a note that is written after each start, and the files
themselves (a base file names its writer; a single file is the layout of redis 6.2). The note is
more exact, but only the files are always present and correct.

    redis       reads files of redis of the same or an older minor version
    valkey      the same for valkey, and files of redis before 7.4, from which it descends
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import orjson

# Layouts: a single file up to 6.2, a folder with a manifest since 7.0.
SINGLE_FILE, FOLDER = "appendonly.aof", "appendonlydir"
NOTE = "written-by"
# From RDB version 12, that of redis 7.4, valkey cannot read files of redis.
FIRST_FOREIGN_REDIS = (7, 4)
# A base file without a key has 89 to 110 bytes, and the start of the file after it a few.
EMPTY_BYTES = 1_000
_AUX, _HEAD_BYTES = 0xFA, 64
# For base files that do not name their writer: magic → the oldest redis that writes it.
_BY_MAGIC = {b"REDIS0010": (7, 0), b"REDIS0011": (7, 2), b"REDIS0012": (7, 4)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Name and version of a server program."""

    name: str
    """`redis` or `valkey`."""
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}-server {'.'.join(map(str, self.version))}"

    def can_read(self, written: Writer) -> bool:
        """Whether this server can read the files of another one."""
        if self.name == written.name:
            return self.version[:2] >= written.version[:2]
        return self.name == "valkey" and written.version[:2] < FIRST_FOREIGN_REDIS


def writers(folder: Path) -> list[Writer]:
    """The writers that the note and the files name, at most one each; empty for a new folder."""
    candidates = [_noted(folder), _of_files(folder)]
    return [writer for writer in candidates if writer]


def note(folder: Path, writer: Writer) -> None:
    """Write the note that this server runs on these files now."""
    fields = {
        "server": writer.name,
        "version": ".".join(map(str, writer.version)),
        "format": FOLDER if (folder / FOLDER).is_dir() else SINGLE_FILE,
    }
    path = folder / NOTE
    new = path.with_suffix(".new")
    new.write_bytes(orjson.dumps(fields) + b"\n")
    new.replace(path)


def data_bytes(folder: Path) -> int:
    """Total bytes of the files in which a server may have stored data."""
    return sum(file.stat().st_size for file in _data_files(folder))


def _data_files(folder: Path) -> list[Path]:
    files = [folder / SINGLE_FILE, *folder.glob("*.rdb"), *(folder / FOLDER).glob("*")]
    return [file for file in files if file.suffix in (".aof", ".rdb") and file.is_file()]


def stray(folder: Path) -> Path | None:
    """The append-only file of the old layout if a server of the new one ignores it, else None."""
    single = folder / SINGLE_FILE
    return single if _has_folder(folder) and single.is_file() and single.stat().st_size else None


def is_emptied(folder: Path) -> bool:
    """Whether a server ran in this folder whose data files were removed since."""
    return _noted(folder) is not None and not _data_files(folder)


def _has_folder(folder: Path) -> bool:
    return any((folder / FOLDER).glob("*"))


def _noted(folder: Path) -> Writer | None:
    try:
        fields = orjson.loads((folder / NOTE).read_bytes())
        version = tuple(int(part) for part in str(fields["version"]).split("."))
        name = fields["server"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Writer(name=name, version=version) if name in ("redis", "valkey") else None


def _of_files(folder: Path) -> Writer | None:
    if _has_folder(folder):
        bases = sorted((folder / FOLDER).glob("*.base.*"), key=os.path.getmtime)
        # Only redis 7 and later write a folder.
        return (_of_base(bases[-1]) if bases else None) or Writer(name="redis", version=(7, 0))
    for path in (folder / SINGLE_FILE, *folder.glob("*.rdb")):
        if path.is_file() and path.stat().st_size:
            return _of_base(path) or Writer(name="redis", version=(6, 2))
    return None


def _of_base(path: Path) -> Writer | None:
    """The writer that a file names at its start (RDB: magic, then a field `redis-ver`)."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    magic = head[:9]
    if not magic.startswith((b"REDIS", b"VALKEY")):
        return None
    name, version = _first_field(head[9:])
    if name in (b"redis-ver", b"valkey-ver"):
        numbers = tuple(int(part) for part in version.split(b".") if part.isdigit())
        if numbers:
            return Writer(name=name[:-4].decode(), version=numbers)
    if magic.startswith(b"VALKEY"):
        return Writer(name="valkey", version=(9, 0))
    if magic <= b"REDIS0009":
        return Writer(name="redis", version=(6, 2))
    return Writer(name="redis", version=_BY_MAGIC.get(magic, (8, 0)))


def _first_field(data: bytes) -> tuple[bytes, bytes]:
    """Name and value of the first field, both shorter than 64 bytes; empty if it is not a field."""
    if len(data) < 2 or data[0] != _AUX:
        return b"", b""
    name, rest = data[2 : 2 + data[1]], data[2 + data[1] :]
    return name, rest[1 : 1 + rest[0]] if rest else b""
