"""The files of an embedded server: who wrote them, and which servers can read them. Pure but for
reading files.

A server that cannot read what is there must never start on it. Some say so and advise a repair tool
that would do harm; redis 6.2 does not even look into `appendonlydir`, and shows an empty archive.
Two things name the writer: a note that is left after each start, and the files themselves (a base
file names its writer; the layout of one file is redis 6.2's). The note knows more, the files cannot
be wrong.

    redis       reads what redis of the same or an older minor version wrote
    valkey      the same of valkey, and what redis before 7.4 wrote, which it descends from
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import orjson

# Of one file until 6.2, of a folder with a manifest since 7.0.
SINGLE_FILE, FOLDER = "appendonly.aof", "appendonlydir"
NOTE = "written-by"
# Redis and valkey part at RDB version 12, redis 7.4's.
FIRST_FOREIGN_REDIS = (7, 4)
# A base file without a key has 89 to 110 bytes, and the beginning of what comes after it a few.
EMPTY_BYTES = 1_000
_AUX, _HEAD_BYTES = 0xFA, 64
# Of base files that do not name their writer: magic → the redis that wrote it at the earliest.
_BY_MAGIC = {b"REDIS0010": (7, 0), b"REDIS0011": (7, 2), b"REDIS0012": (7, 4)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """A server program by name and version."""

    name: str
    """`redis` or `valkey`."""
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}-server {'.'.join(map(str, self.version))}"

    def can_read(self, written: Writer) -> bool:
        """Whether a server can read what another one wrote."""
        if self.name == written.name:
            return self.version[:2] >= written.version[:2]
        return self.name == "valkey" and written.version[:2] < FIRST_FOREIGN_REDIS


def writers(folder: Path) -> list[Writer]:
    """Who wrote the files, as far as they and the note tell; empty where there is nothing."""
    candidates = [_noted(folder), _of_files(folder)]
    return [writer for writer in candidates if writer]


def note(folder: Path, writer: Writer) -> None:
    """Leave a note of a server that runs on these files now."""
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
    """Bytes of everything that a server might have kept data in."""
    return sum(file.stat().st_size for file in _data_files(folder))


def _data_files(folder: Path) -> list[Path]:
    files = [folder / SINGLE_FILE, *folder.glob("*.rdb"), *(folder / FOLDER).glob("*")]
    return [file for file in files if file.suffix in (".aof", ".rdb") and file.is_file()]


def stray(folder: Path) -> Path | None:
    """What a server of the old layout wrote beside the new one: nobody reads it."""
    single = folder / SINGLE_FILE
    return single if _has_folder(folder) and single.is_file() and single.stat().st_size else None


def is_emptied(folder: Path) -> bool:
    """Whether a server ran on these files, and they are gone."""
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
        # A folder is redis 7's at the least.
        return (_of_base(bases[-1]) if bases else None) or Writer(name="redis", version=(7, 0))
    for path in (folder / SINGLE_FILE, *folder.glob("*.rdb")):
        if path.is_file() and path.stat().st_size:
            return _of_base(path) or Writer(name="redis", version=(6, 2))
    return None


def _of_base(path: Path) -> Writer | None:
    """The writer that a file names at its head (RDB: magic, then a field `redis-ver`)."""
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
    """Name and value of the field at the beginning, both strings of less than 64 bytes."""
    if len(data) < 2 or data[0] != _AUX:
        return b"", b""
    name, rest = data[2 : 2 + data[1]], data[2 + data[1] :]
    return name, rest[1 : 1 + rest[0]] if rest else b""
