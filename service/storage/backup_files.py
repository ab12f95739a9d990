"""The files of a backup: records, checksums, and the manifest that makes it complete.

A backup is a folder of mode 0700 with files of mode 0600, because it holds secrets:

    first.msgpack.zst     sources and what their polls left, pushes of hubs
    articles.msgpack.zst  articles; one that changed meanwhile comes again, and the later one counts
    events.msgpack.zst    the event streams with entry ids, groups, pending entries, trimmed marks
    last.msgpack.zst      everything else
    manifest.json         written last: length, records and SHA-256 of each file

A record is a msgpack array [kind, key, payload, ms at which the key expires or 0], with bytes as
they are in Redis; no payload is in a format of one server version:

    string   the value                       list     all items
    hash     names and values in turn        set      members
    zset     members and scores in turn      article  as hash; a restore indexes it
    stream   [entry id, names and values in turn] for each entry
    last-id  the id after which the stream goes on, though its entry may be gone
    group    [name, last delivered id]
    pending  [group, consumer, entry id, ms of the delivery, deliveries] for each entry

A folder without a manifest is a backup that was cut. It is begun anew, never continued: what was
read at another time does not fit to what is read now.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgpack
import orjson

from service.errors import DatelineError
from service.storage.shards import Shards, numbered

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FORMAT = 2
"""Format of the manifest and the records. Since 2 the manifest has the layout; 1 is still read."""
MANIFEST = "manifest.json"
FILES = ("first", "articles", "events", "last")
SUFFIX = ".msgpack.zst"
READ_BYTES = 1 << 20
# Articles are compressed in Redis already; this level costs less than Redis does.
LEVEL = 1
_OTHER_COPY = "restore another copy, or another backup"
Record = tuple[str, bytes, Any, int]
"""(kind, key, payload, ms at which the key expires or 0)."""


class BackupFault(DatelineError):
    """A backup that cannot be written, or is not one that can be restored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSummary:
    """One file of a backup, as its manifest states it."""

    name: str
    bytes: int
    records: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a complete backup holds."""

    format: int
    id: str
    """Id of this backup; only the same backup can continue a restore that was cut."""
    version: str
    """Version of dateline that wrote it."""
    created: str
    """RFC 3339: when it was begun."""
    shards: int
    tags: tuple[int, ...] = ()
    """Those of the shards; none in older backups, of which they are 0 to `shards` - 1."""
    layout: int | None = None
    """Version of the layout of the data (layout.py); None if the records alone say it."""
    articles: int
    """Records of articles: one that changed during the backup counts again."""
    events: int
    cuts: tuple[str, ...]
    """For each shard, the id of the last stream entry that the backup contains."""
    files: tuple[FileSummary, ...]

    @property
    def layout_shards(self) -> Shards:
        """The shards that the archive had."""
        return Shards(self.tags) if self.tags else numbered(self.shards)

    @property
    def bytes(self) -> int:
        """Length of all files together."""
        return sum(file.bytes for file in self.files)


class RecordWriter:
    """One file of records, compressed and hashed while it is written."""

    def __init__(self, folder: Path, name: str) -> None:
        self._name = name + SUFFIX
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._file = os.fdopen(os.open(folder / self._name, flags, 0o600), "wb")
        self._zstd = zstd.ZstdCompressor(level=LEVEL)
        self._pack = msgpack.Packer(use_bin_type=True).pack
        self._sha256 = hashlib.sha256()
        self._bytes = 0
        self.records = 0

    def put(self, kind: str, key: str | bytes, payload: Any, expires_ms: int = 0) -> None:
        """Append a record, compressed; it is certain to be on the disk after `end` alone."""
        name = key.encode() if isinstance(key, str) else key
        self._write(self._zstd.compress(self._pack((kind, name, payload, expires_ms))))
        self.records += 1

    def end(self) -> FileSummary:
        """Write the file to the disk, and describe it."""
        self._write(self._zstd.flush(zstd.ZstdCompressor.FLUSH_FRAME))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return FileSummary(
            name=self._name,
            bytes=self._bytes,
            records=self.records,
            sha256=self._sha256.hexdigest(),
        )

    def close(self) -> None:
        """Close the file as it is, after a fault."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._sha256.update(data)
        self._bytes += len(data)


@contextmanager
def new_folder(folder: Path) -> Iterator[bool]:
    """Make and lock the folder of a new backup; yield whether the rest of one that was cut was
    removed from it.

    Raises:
        BackupFault: it holds a complete backup or files of others, which are left alone, or
            another process writes a backup there.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        raise BackupFault(_no_folder(folder, exc)) from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield _emptied(folder)
    except BlockingIOError as exc:
        raise BackupFault(
            f"{folder}: another process writes a backup there: wait for it, or name another folder"
        ) from exc
    finally:
        os.close(descriptor)


def _emptied(folder: Path) -> bool:
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError as exc:
        raise BackupFault(_no_folder(folder, exc)) from exc
    if MANIFEST in names:
        raise BackupFault(f"{folder} holds a complete backup: name another folder, or remove it")
    ours = {name + SUFFIX for name in FILES} | {MANIFEST + ".part"}
    others = sorted(names - ours)
    if others:
        raise BackupFault(
            f"{folder} holds {others[0]!r}, which no backup wrote: name a new or an empty folder"
        )
    try:
        folder.chmod(0o700)
        for name in names:
            (folder / name).unlink()
    except OSError as exc:
        raise BackupFault(
            f"{folder}: the cut backup in it cannot be removed ({exc.strerror}): remove it, or "
            f"name another folder"
        ) from exc
    return bool(names)


def remove_backup(folder: Path) -> None:
    """Remove a backup and its folder; what else is in the folder stays, and then the folder."""
    for name in (MANIFEST, *(name + SUFFIX for name in FILES)):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _no_folder(folder: Path, exc: OSError) -> str:
    return (
        f"{folder}: a backup cannot be written there ({exc.strerror}): name a folder that you can "
        f"create or write to"
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make the backup complete, in one step."""
    fields = asdict(manifest)
    text = orjson.dumps({**fields, "sha256": digest_of(fields)}, option=orjson.OPT_INDENT_2)
    part = folder / (MANIFEST + ".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(text + b"\n")
        file.flush()
        os.fsync(file.fileno())
    part.rename(folder / MANIFEST)
    # The names, too, must be on the disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup; its files are not read yet.

    Raises:
        BackupFault: there is no complete backup, it was altered, or a newer dateline wrote it.
    """
    path = folder / MANIFEST
    try:
        fields = orjson.loads(path.read_bytes())
        sha256 = fields.pop("sha256")
        if fields["format"] > FORMAT:
            raise BackupFault(
                f"{path}: its format is {fields['format']}, and this dateline reads {FORMAT}: "
                f"restore it with dateline {fields['version']} or newer"
            )
        files = tuple(FileSummary(**file) for file in fields["files"])
        is_whole = sha256 == digest_of(fields) and [f.name for f in files] == [
            name + SUFFIX for name in FILES
        ]
        tuples = {"cuts": tuple(fields["cuts"]), "tags": tuple(fields.get("tags", ()))}
        manifest = Manifest(**{**fields, "files": files, **tuples})
    except FileNotFoundError as exc:
        what = (
            f"holds no complete backup: {MANIFEST}, which is written last, is missing"
            if folder.exists()
            else "does not exist"
        )
        raise BackupFault(f"{folder} {what}: name the folder of a complete backup") from exc
    except OSError as exc:
        raise BackupFault(f"{path}: it cannot be read ({exc.strerror})") from exc
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise BackupFault(
            f"{path}: it is not the manifest of a backup ({exc!r}): {_OTHER_COPY}"
        ) from exc
    if not is_whole:
        raise BackupFault(
            f"{path}: it was altered after the backup: its checksum is another: {_OTHER_COPY}"
        )
    return manifest


def verify(folder: Path, manifest: Manifest) -> None:
    """Raise BackupFault unless every file is as the backup wrote it."""
    for file in manifest.files:
        path = folder / file.name
        try:
            length = path.stat().st_size
            if length != file.bytes:
                raise BackupFault(
                    f"{path}: it has {length} bytes instead of {file.bytes}: {_OTHER_COPY}"
                )
            with path.open("rb") as opened:
                sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as exc:
            raise BackupFault(f"{path}: it cannot be read ({exc.strerror}): {_OTHER_COPY}") from exc
        if sha256 != file.sha256:
            raise BackupFault(
                f"{path}: it was altered after the backup: its checksum is another: {_OTHER_COPY}"
            )


def records(folder: Path, manifest: Manifest) -> Iterator[Record]:
    """Every record in the order in which it must be restored.

    Raises:
        BackupFault: a file changed since `verify`.
    """
    for file in manifest.files:
        count = 0
        try:
            for kind, key, payload, expires_ms in _unpacked(folder / file.name):
                count += 1
                yield kind, key, payload, expires_ms
        except (OSError, ValueError, TypeError, zstd.ZstdError, msgpack.UnpackException) as exc:
            raise BackupFault(f"{folder / file.name}: it cannot be read: {exc!r}") from exc
        if count != file.records:
            raise BackupFault(f"{folder / file.name}: {count} records instead of {file.records}")


def _unpacked(path: Path) -> Iterator[Sequence[Any]]:
    unpacker = msgpack.Unpacker(raw=False, use_list=True, max_buffer_size=0)
    decompressor = zstd.ZstdDecompressor()
    with path.open("rb") as file:
        while not decompressor.eof:
            data = file.read(READ_BYTES) if decompressor.needs_input else b""
            if not data and decompressor.needs_input:
                raise BackupFault(f"{path}: it ends too early")
            unpacker.feed(decompressor.decompress(data, READ_BYTES))
            yield from unpacker


def digest_of(fields: dict[str, Any]) -> str:
    """SHA-256 of the other fields of a manifest, in hex; the manifest has it as `sha256`."""
    return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()
