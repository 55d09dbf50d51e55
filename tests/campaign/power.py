"""Power cuts on a real SQLite file: every write, sync and delete of the journal is recorded below SQLite, then the disk is rebuilt as it
may lie after a cut at any instant. What was not synced is dropped, kept up to some point, or kept in part, and the last write may be torn.

The recording layer is a SQLite VFS made with ctypes over the one SQLite was built with; nothing is installed for it. It does not model a
disk that lies about its syncs; a deleted name is gone with the next sync of any file, as in journalling file systems.
"""

from __future__ import annotations

import _sqlite3
import ctypes as c
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAME = b"recording"
OPEN = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_void_p, c.c_int, c.c_void_p)  # SQLite keeps the name's pointer
DELETE = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_char_p, c.c_int)
WRITE = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_int, c.c_int64)
TRUNCATE = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_int64)
SYNC = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_int)


class Vfs(c.Structure):
    """sqlite3_vfs."""


Vfs._fields_ = [
    ("iVersion", c.c_int),
    ("szOsFile", c.c_int),
    ("mxPathname", c.c_int),
    ("pNext", c.c_void_p),
    ("zName", c.c_char_p),
    ("pAppData", c.c_void_p),
    ("xOpen", OPEN),
    ("xDelete", DELETE),
    *((name, c.c_void_p) for name in ("xAccess", "xFullPathname", "xDlOpen", "xDlError", "xDlSym", "xDlClose", "xRandomness", "xSleep")),
    *((name, c.c_void_p) for name in ("xCurrentTime", "xGetLastError", "xCurrentTimeInt64", "xSetSystemCall", "xGetSystemCall", "xNext")),
]


class Methods(c.Structure):
    """sqlite3_io_methods."""

    _fields_ = [
        ("iVersion", c.c_int),
        ("xClose", c.c_void_p),
        ("xRead", c.c_void_p),
        ("xWrite", WRITE),
        ("xTruncate", TRUNCATE),
        ("xSync", SYNC),
        *((f"x{n}", c.c_void_p) for n in range(13)),
    ]


@dataclass(frozen=True, slots=True)
class Op:
    """One thing done to a file: write, truncate, sync, delete, or an acknowledgement given to the journal's user."""

    kind: str
    path: str = ""
    at: int = 0
    data: bytes = b""


@dataclass
class Recorder:
    """The default VFS while `with` lasts; `ops` is everything that reached it."""

    ops: list[Op] = field(default_factory=list)

    def __enter__(self) -> Recorder:
        self._lib = c.CDLL(_sqlite3.__file__)
        self._lib.sqlite3_vfs_find.restype = c.c_void_p
        self._real_p = self._lib.sqlite3_vfs_find(None)
        self._real = c.cast(self._real_p, c.POINTER(Vfs)).contents
        self._paths: dict[int, str] = {}
        self._methods: dict[int, Methods] = {}
        self._kept: list[Any] = []
        self._vfs = Vfs.from_buffer_copy(self._real)
        self._vfs.zName, self._vfs.pNext = NAME, None
        self._vfs.xOpen, self._vfs.xDelete = OPEN(self._open), DELETE(self._delete)
        self._lib.sqlite3_vfs_register(c.byref(self._vfs), 1)
        return self

    def __exit__(self, *why: object) -> None:
        self._lib.sqlite3_vfs_unregister(c.byref(self._vfs))
        self._lib.sqlite3_vfs_register(c.c_void_p(self._real_p), 1)

    def acknowledge(self, number: int) -> None:
        """The user was told that everything up to `number` is safe."""
        self.ops.append(Op("ack", at=number))

    def _open(self, vfs: int, name: int, file: int, flags: int, out: int) -> int:
        code = int(self._real.xOpen(self._real_p, name, file, flags, out))
        slot = c.cast(file, c.POINTER(c.c_void_p))
        if code == 0 and slot[0] and name:
            self._paths[file] = c.string_at(name).decode()
            slot[0] = c.addressof(self._recording(slot[0]))
        return code

    def _recording(self, real_p: int) -> Methods:
        if real_p not in self._methods:
            real = c.cast(real_p, c.POINTER(Methods)).contents
            own = Methods.from_buffer_copy(real)
            own.xWrite = WRITE(
                lambda f, data, n, at: self._done(Op("write", self._paths[f], at, c.string_at(data, n)), real.xWrite(f, data, n, at))
            )
            own.xTruncate = TRUNCATE(lambda f, size: self._done(Op("truncate", self._paths[f], size), real.xTruncate(f, size)))
            own.xSync = SYNC(lambda f, flags: self._done(Op("sync", self._paths[f]), real.xSync(f, flags)))
            self._methods[real_p] = own
            self._methods[c.addressof(own)] = own
        return self._methods[real_p]

    def _delete(self, vfs: int, name: bytes, sync: int) -> int:
        return self._done(Op("delete", name.decode()), int(self._real.xDelete(self._real_p, name, sync)))

    def _done(self, op: Op, code: int) -> int:
        if code == 0:
            self.ops.append(op)
        return int(code)


class Disk:
    """The files as they stand safe on disk, and what is still on its way there."""

    def __init__(self) -> None:
        self.safe: dict[str, bytearray] = {}
        self.waiting: list[Op] = []
        self.acknowledged = 0

    def take(self, op: Op) -> None:
        """The next recorded operation."""
        if op.kind == "ack":
            self.acknowledged = op.at
        elif op.kind == "sync":
            for waiting in [w for w in self.waiting if w.path == op.path or w.kind == "delete"]:
                _apply(self.safe, waiting)
            self.waiting = [w for w in self.waiting if w.path != op.path and w.kind != "delete"]
        else:
            self.waiting.append(op)

    def after_cut(self, rng: random.Random) -> dict[str, bytearray]:
        """One way the disk may lie after a cut now."""
        files = {path: bytearray(data) for path, data in self.safe.items()}
        for op in _survivors(self.waiting, rng):
            _apply(files, op)
        return files


def _survivors(waiting: list[Op], rng: random.Random) -> list[Op]:
    """Unsynced writes that made it all the same: none, the first ones (the last of them torn), or any."""
    mode = rng.choice(["dropped", "prefix", "thinned"])
    if mode == "dropped" or not waiting:
        return []
    if mode == "thinned":
        return [op for op in waiting if rng.random() < 0.5]
    kept = waiting[: rng.randrange(len(waiting) + 1)]
    if kept and kept[-1].kind == "write":
        last = kept[-1]
        kept[-1] = Op("write", last.path, last.at, last.data[: rng.randrange(len(last.data) + 1)])
    return kept


def _apply(files: dict[str, bytearray], op: Op) -> None:
    if op.kind == "delete":
        files.pop(op.path, None)
        return
    data = files.setdefault(op.path, bytearray())
    if op.kind == "truncate":
        del data[op.at :]
        return
    if len(data) < op.at:
        data.extend(bytes(op.at - len(data)))
    data[op.at : op.at + len(op.data)] = op.data


def cuts(ops: list[Op], count: int, rng: random.Random) -> Iterator[tuple[int, dict[str, bytearray]]]:
    """`count` power cuts at random instants: what was acknowledged until then, and the files that are left."""
    disk, done = Disk(), 0
    for at in sorted(rng.randrange(len(ops) + 1) for _ in range(count)):
        for op in ops[done:at]:
            disk.take(op)
        done = at
        yield disk.acknowledged, disk.after_cut(rng)


def put_down(files: dict[str, bytearray], folder: Path) -> None:
    """Writes the files into an empty folder."""
    for path, data in files.items():
        (folder / Path(path).name).write_bytes(data)
