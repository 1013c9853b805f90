"""The tools an administrator would use instead: borg and restic, and where they come from."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from tests.bench.costs import Cost, cost_of
from tests.bench.engine import ROOT

PLACE: Final = ROOT / ".bench"
"""What `./run services bench` installs, and the corpora that were made once."""


class MissingPeer(Exception):
    """A tool to compare with is not installed."""


@dataclass
class Peer:
    """One tool, its repository and the folder that it backs up."""

    store: Path
    place: Path
    program: Path
    name: ClassVar[str] = ""
    archives: int = 0

    @property
    def repository(self) -> Path:
        """Where it keeps what it has saved."""
        return self.place / f"{self.name}-repository"

    @property
    def version(self) -> str:
        """Its name and version, as it says itself."""
        output = subprocess.run(
            [self.program, self._version_word], check=True, capture_output=True, text=True
        ).stdout
        found = re.search(r"\d+(\.\d+)+", output)
        return f"{self.name} {found[0] if found else output.strip()}"

    _version_word: ClassVar[str] = "--version"

    def empty(self) -> None:
        """Make its repository anew, and forget its caches."""
        for each in (self.repository, self._home):
            shutil.rmtree(each, ignore_errors=True)
            each.mkdir(parents=True)
        self.archives = 0
        self._begin()

    def _begin(self) -> None:
        raise NotImplementedError

    @property
    def _home(self) -> Path:
        return self.place / f"{self.name}-home"

    def _run(self, *words: str | Path, cwd: Path | None = None) -> Cost:
        env = os.environ | self._environment()
        return cost_of([self.program, *words], env=env, cwd=cwd or self.store.parent)

    def _environment(self) -> dict[str, str]:
        raise NotImplementedError


class Borg(Peer):
    """borg: no encryption, zstd 3."""

    name = "borg"

    def create(self) -> Cost:
        """Back the store up once more."""
        self.archives += 1
        archive = f"{self.repository}::a{self.archives}"
        return self._run("create", "-C", "zstd,3", archive, self.store.name)

    def check(self) -> Cost:
        """Read and verify all data."""
        return self._run("check", "--verify-data", self.repository)

    def extract(self, folder: Path, target: Path) -> Cost:
        """Read a folder of the store back from the last archive."""
        inside = folder.relative_to(self.store.parent)
        return self._run("extract", f"{self.repository}::a{self.archives}", inside, cwd=target)

    def purge(self) -> Cost:
        """Keep the last archive only and free what the others needed."""
        first = self._run("prune", "--keep-last", "1", self.repository)
        second = self._run("compact", self.repository)
        return Cost(first.cpu_s + second.cpu_s, first.wall_s + second.wall_s)

    def _begin(self) -> None:
        self._run("init", "-e", "none", self.repository)

    def _environment(self) -> dict[str, str]:
        return {
            "BORG_BASE_DIR": str(self._home),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }


class Restic(Peer):
    """restic with its default compression."""

    name = "restic"
    _version_word = "version"

    def create(self) -> Cost:
        """Back the store up once more."""
        return self._run("backup", "--quiet", self.store.name)

    def check(self) -> Cost:
        """Read and verify all data."""
        return self._run("check", "--quiet", "--read-data")

    def extract(self, folder: Path, target: Path) -> Cost:
        """Read a folder of the store back from the last snapshot."""
        inside = "/" + str(folder.relative_to(self.store.parent))
        return self._run("restore", "latest", "--quiet", "--target", target, "--include", inside)

    def purge(self) -> Cost:
        """Keep the last snapshot only and free what the others needed."""
        return self._run("forget", "--quiet", "--keep-last", "1", "--prune")

    def _begin(self) -> None:
        self._run("init", "--quiet")

    def _environment(self) -> dict[str, str]:
        return {
            # No secret: restic has no repository without one.
            "RESTIC_PASSWORD": "bench",
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_CACHE_DIR": str(self._home),
        }


def find_borg() -> Path:
    """Return borg's program. Raises MissingPeer."""
    own = PLACE / "borg" / "bin" / "borg"
    if not own.exists():
        raise MissingPeer("borg is not installed: ./run services bench")
    return own


def find_restic() -> Path:
    """Return the first restic on the PATH. Raises MissingPeer."""
    found = shutil.which("restic")
    if found is None:
        raise MissingPeer("restic is not installed: ./run services bench")
    return Path(found)
