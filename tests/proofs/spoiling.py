"""The verbs of the corpus `tests/hostile/trees.json`: what an enemy does to a tree of ours."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from backupng.engine.backuppath import layout, metadata, provisioning
from backupng.engine.backuppath.layout import Place

_MIB = 1 << 20


@dataclass(frozen=True)
class Victim:
    """A tree that is spoilt, the names in it that the corpus has, and what lies outside."""

    root: Path
    outside: Path
    names: Mapping[str, str]

    def filled(self, value: Any) -> Any:
        """Put names into a text of the corpus, or into the texts of a value."""
        if isinstance(value, dict):
            return {self.filled(key): self.filled(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.filled(each) for each in value]
        if not isinstance(value, str):
            return value
        for name, text in self.names.items():
            if value == f"{{{name}}}" and text.isdecimal():
                return int(text)
            value = value.replace(f"{{{name}}}", text)
        return value

    def at(self, path: str) -> Path:
        """Return a place in the tree."""
        return self.root / self.filled(path) if path else self.root

    def spoil(self, make: list[list[Any]]) -> None:
        """Do what a case says."""
        for verb, *arguments in make:
            VERBS[verb](self, *arguments)

    # Bodies

    def body(self, path: str) -> dict[str, Any]:
        """Return the last body of a history."""
        lines = metadata.read_lines(self.at(path).read_bytes(), self._seed(path))
        found: dict[str, Any] = json.loads(lines.bodies[-1])
        return found

    def put(self, path: str, body: bytes) -> None:
        """Make a history of one line, whose sum is right."""
        line, _ = metadata.seal(metadata.first_digits(self._seed(path)), body)
        self.at(path).write_bytes(line)

    def patch(self, path: str, changes: Mapping[str, Any]) -> None:
        """Change values of the last body of a history, of which it becomes the only one."""
        self.put(path, _spelled({**self.body(path), "n": 1, **self.filled(dict(changes))}))

    def _seed(self, path: str) -> str:
        return layout.chain_seed(Place(self.filled(path)))


def _spelled(body: Any) -> bytes:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogateescape")


def _removed(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _link(victim: Victim, path: str, target: str) -> None:
    target = victim.filled(target).replace("{tree}", str(victim.root))
    _removed(victim.at(path))
    victim.at(path).symlink_to(target)


def _away(victim: Victim, path: str) -> None:
    """Move what lies there outside, and put a link in its place."""
    place = victim.at(path)
    place.rename(victim.outside / "moved")
    place.symlink_to(victim.outside / "moved")


def _hardlink(victim: Victim, path: str, target: str) -> None:
    _removed(victim.at(path))
    victim.at(path).hardlink_to(victim.filled(target))


def _other(victim: Victim, path: str, make: Callable[[Path], object]) -> None:
    _removed(victim.at(path))
    make(victim.at(path))


def _socket(path: Path) -> None:
    here = os.open(".", os.O_RDONLY)
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("s")
        Path("s").rename(path.name)
    finally:
        os.fchdir(here)
        os.close(here)


def _copy(victim: Victim, path: str, target: str) -> None:
    source, place = victim.at(path), victim.at(target)
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, place, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, place)


def _swap(victim: Victim, path: str, other: str) -> None:
    first, second = victim.at(path).read_bytes(), victim.at(other).read_bytes()
    victim.at(path).write_bytes(second)
    victim.at(other).write_bytes(first)


def _changed(victim: Victim, path: str, change: Callable[[bytes], bytes]) -> None:
    victim.at(path).write_bytes(change(victim.at(path).read_bytes()))


def _rawpatch(victim: Victim, path: str, key: str, text: str) -> None:
    """Put a text of JSON, however wrong, in the place of a value."""
    body = {**victim.body(path), "n": 1, key: "@@"}
    victim.put(path, _spelled(body).replace(b'"@@"', text.encode()))


def _attributes(victim: Victim, path: str, changes: Mapping[str, Any]) -> None:
    attributes = victim.body(path)["attributes"]
    victim.patch(path, {"attributes": attributes | victim.filled(dict(changes))})


def _children(victim: Victim, path: str, children: Callable[[str], list[dict[str, Any]]]) -> None:
    victim.patch(path, {"children": children(victim.body(path)["dn"])})


def _child(dn: str, number: int, kind: str = "identity", **attributes: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "id": f"0d2b9a1e-0000-4000-8000-{number:012}",
        "name": f"child {number}",
        "dn": f"cn=child {number},{dn}",
        "attributes": {name: [value] for name, value in attributes.items()},
    }


def _nested(dn: str, depth: int) -> list[dict[str, Any]]:
    children: list[dict[str, Any]] = []
    for number in range(depth):
        children = [_child(dn, number) | {"children": children}]
    return children


def _source(dn: str) -> list[dict[str, Any]]:
    told = {
        "zimbraDataSourceHost": "evil.example.org",
        "zimbraDataSourceType": "imap",
        "zimbraDataSourcePassword": "secret",
        "zimbraDataSourceUsername": "alice",
    }
    return [_child(dn, 1, "datasource", **told)]


def _format(victim: Victim, *lines: str) -> None:
    data = victim.at("format").read_bytes().rpartition(b"#")[0]
    data += "".join(f"{line}\n" for line in lines).encode()
    victim.at("format").write_bytes(data + b"#%08x\n" % zlib.crc32(data))


def _checkpoint(victim: Victim, said: Mapping[str, Any]) -> None:
    victim.at("{checkpoint}").write_bytes(provisioning.spell_checkpoint(said))


def _nest(victim: Victim, account: str, depth: int) -> None:
    """Put so many folders into each other."""
    folder = victim.body("{folder}") | {"n": 1}
    for number in range(depth):
        item = 100_000 + number
        path = f"{victim.filled(account)}/items/{item % 100:02d}/{item}"
        victim.at(path).parent.mkdir(exist_ok=True)
        above = item - 1 if number else 1
        victim.put(path, _spelled(folder | {"name": f"d{number}", "folder": above}))


def _many(victim: Victim, path: str, count: int) -> None:
    descriptor = os.open(victim.at(path), os.O_RDONLY)
    for number in range(count):
        os.close(os.open(f"{number}.x", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)


def _packed(plain: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(plain)


def _bomb() -> bytes:
    packing, found = zstandard.ZstdCompressor().compressobj(), b""
    for _ in range(1 << 10):
        found += packing.compress(bytes(_MIB))
    return found + packing.flush()


def _gzip_bomb() -> bytes:
    packing, found = zlib.compressobj(1, zlib.DEFLATED, 31), b""
    for _ in range(1 << 10):
        found += packing.compress(bytes(_MIB))
    return found + packing.flush()


def _huge_window(plain: bytes) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=27)
    packing = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packing.compress(plain + bytes(1 << 20)) + packing.flush()


BLOBS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _plain: b"",
    "one byte": lambda _plain: b"\x28",
    "ratio of a zstd bomb": lambda _plain: _bomb(),
    "ratio of a gzip bomb": lambda _plain: _gzip_bomb(),
    "a bomb in a bomb": lambda _plain: _packed(_bomb()),
    "truncated": lambda plain: _packed(plain)[:-3],
    "truncated gzip": lambda plain: gzip.compress(plain)[:-3],
    "trailing garbage": lambda plain: _packed(plain) + b"x",
    "trailing garbage after gzip": lambda plain: gzip.compress(plain) + b"\0",
    "two frames": lambda plain: _packed(plain[:9]) + _packed(plain[9:]),
    "two members": lambda plain: gzip.compress(plain[:9]) + gzip.compress(plain[9:]),
    # A frame that says to hold 2^62 bytes, in one raw block of one byte.
    "a lying length": lambda _plain: (
        b"\x28\xb5\x2f\xfd\xe0" + (1 << 62).to_bytes(8, "little") + b"\x09\0\0x"
    ),
    "a huge window": _huge_window,
    "a skippable frame": lambda plain: b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + _packed(plain),
    "an unknown codec": lambda plain: b"BZh9" + plain,
    "twice compressed": lambda plain: gzip.compress(gzip.compress(plain)),
}


def _blob(victim: Victim, path: str, kind: str) -> None:
    place = victim.at(path)
    if kind == "4 GiB of nothing":
        os.truncate(place, 4 << 30)
        return
    plain = zstandard.ZstdDecompressor().decompress(place.read_bytes(), max_output_size=_MIB)
    place.write_bytes(BLOBS[kind](plain))


VERBS: dict[str, Callable[..., None]] = {
    "link": _link,
    "away": _away,
    "hardlink": _hardlink,
    "fifo": lambda victim, path: _other(victim, path, os.mkfifo),
    "socket": lambda victim, path: _other(victim, path, _socket),
    "device": lambda victim, path: _other(
        victim, path, lambda place: os.mknod(place, 0o20666, os.makedev(1, 5))
    ),
    "folder": lambda victim, path: _other(victim, path, Path.mkdir),
    "file": lambda victim, path: _other(victim, path, Path.touch),
    "copy": _copy,
    "swap": _swap,
    "remove": lambda victim, path: _removed(victim.at(path)),
    "blob": _blob,
    "truncate": lambda victim, path, length: os.truncate(victim.at(path), length),
    "chop": lambda victim, path, number: _changed(victim, path, lambda data: data[:-number]),
    "append": lambda victim, path, text: _changed(victim, path, lambda data: data + text.encode()),
    "prepend": lambda victim, path, text: _changed(victim, path, lambda data: text.encode() + data),
    "twice": lambda victim, path: _changed(victim, path, lambda data: data + data),
    "line": lambda victim, path, text: victim.put(path, text.encode("utf-8", "surrogateescape")),
    "long": lambda victim, path, length: victim.patch(path, {"subject": "x" * length}),
    "deep": lambda victim, path, depth: _rawpatch(victim, path, "x", "[" * depth + "]" * depth),
    "patch": Victim.patch,
    "rawpatch": _rawpatch,
    "attributes": _attributes,
    "huge": lambda victim, path, length: _attributes(victim, path, {"description": ["x" * length]}),
    "children": lambda victim, path, count: _children(
        victim, path, lambda dn: [_child(dn, number) for number in range(count)]
    ),
    "nestedchildren": lambda victim, path, depth: _children(
        victim, path, lambda dn: _nested(dn, depth)
    ),
    "datasource": lambda victim, path: _children(victim, path, _source),
    "nest": _nest,
    "write": lambda victim, path, text: victim.at(path).write_text(text),
    "format": _format,
    "formatlines": lambda victim, count: _format(victim, *(f"x{n} y" for n in range(count))),
    "checkpoint": _checkpoint,
    "chmod": lambda victim, path, mode: victim.at(path).chmod(mode),
    "many": _many,
}
