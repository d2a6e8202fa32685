"""What is published of a run or a dataset: its files, its card, and the manifest of their bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

import msgspec

from fv2es_prep import __version__
from fv2es_prep.errors import DAMAGE, StoreError, UsageError, words_of
from fv2es_prep.utils.files import read_regular, sha256_of

MANIFEST, CARD = "fv2es.json", "README.md"
# Stands for the name of the repository in a card.
NAME_IN_CARD = "OWNER/NAME"
# Kind of publication -> what the Hub calls its repository.
KINDS = {"run": "model", "shards": "dataset"}
_FORMAT, _VERSION = "fv2es-publication", "1.0"
_MOST_BYTES = 64 << 20
_SAFE_NAME = re.compile(r"[^\\:\x00-\x1f]{1,200}")
# Suffixes of the files that are searched for places of this machine.
_TEXT = {".json", ".jsonl", ".md", ".csv", ".toml", ".txt"}
_HINT = "push it again with `fv2es push`"


@dataclass(frozen=True)
class Publication:
    """What one `fv2es push` sends.

    Attributes:
        kind: one of `KINDS`.
        files: name in the repository -> the file, or its bytes; without card and manifest.
        card: text of README.md; see `NAME_IN_CARD`.
        licence: what the licence of the data says, in one sentence.
    """

    kind: str
    files: Mapping[str, Path | bytes]
    card: str
    licence: str

    def sizes(self) -> dict[str, int]:
        """Name -> bytes, of all that is sent but the manifest."""
        known = {n: len(v) if isinstance(v, bytes) else v.stat().st_size for n, v in self._all()}
        return dict(sorted(known.items()))

    def manifest(self) -> Manifest:
        """The digests of the files; of the card none, since owners edit cards on the Hub."""
        sizes = self.sizes()
        digests = {
            name: sha256(v).hexdigest() if isinstance(v, bytes) else sha256_of(v)
            for name, v in self.files.items()
        }
        files = {name: StoredFile(digests[name], sizes[name]) for name in sorted(digests)}
        return Manifest(self.kind, self.licence, files)

    def contents(self) -> dict[str, Path | bytes]:
        """All that is sent, with card and manifest."""
        return {**dict(self._all()), MANIFEST: self.manifest().to_bytes()}

    def refuse_places(self, *places: Path) -> None:
        """Raise UsageError if a text names one of these directories of this machine."""
        # No part of a longer name or of an address.
        named = "|".join(re.escape(str(p)) for p in sorted(places) if len(p.parts) > 1)
        pattern = re.compile(rf"(?<![\w/.])(?:{named})(?![\w.-])".encode())
        for name, value in self._all():
            if PurePosixPath(name).suffix not in _TEXT or not named:
                continue
            text = value if isinstance(value, bytes) else value.read_bytes()
            if found := pattern.search(text):
                raise UsageError(
                    f"{name} names {found[0].decode()}, a place of this machine, and is not sent",
                    "remove the path from the file",
                )

    def _all(self) -> Iterator[tuple[str, Path | bytes]]:
        yield from self.files.items()
        yield CARD, self.card.encode()


@dataclass(frozen=True)
class StoredFile:
    """SHA-256 and bytes of one published file."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Manifest:
    """What ``fv2es.json`` of a repository says.

    Attributes:
        kind: one of `KINDS`.
        licence: what the licence of the data says, in one sentence.
        files: name -> digest and size, of all files but the card.
    """

    kind: str
    licence: str
    files: dict[str, StoredFile]

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size_bytes for file in self.files.values())

    def to_bytes(self) -> bytes:
        """The file's content."""
        head = {"format": _FORMAT, "format_version": _VERSION, "fv2es": __version__}
        return (json.dumps({**head, **asdict(self)}, indent=2, ensure_ascii=False) + "\n").encode()

    def problems(self, directory: Path) -> dict[str, str]:
        """Name -> what is wrong with a file of the directory: missing, or of other bytes."""
        found = {}
        for name, expected in self.files.items():
            path = directory / name
            if not path.is_file():
                found[name] = "is missing"
            elif path.stat().st_size != expected.size_bytes:
                size = path.stat().st_size
                found[name] = f"has {size} bytes, {MANIFEST} says {expected.size_bytes}"
            elif sha256_of(path) != expected.sha256:
                found[name] = f"has another SHA-256 than {MANIFEST} says"
        return found


def read_manifest(path: Path, repository: str) -> Manifest:
    """Read ``fv2es.json``, which anybody may have written.

    Raises:
        StoreError: it is damaged, from a later version, or names a file outside its directory.
    """
    try:
        value = json.loads(read_regular(path, _MOST_BYTES))
        if value["format"] != _FORMAT or value["format_version"].split(".")[0] != "1":
            found = f"{value['format']} {value['format_version']}"
            raise ValueError(f"it is {found!r}, expected {_FORMAT} {_VERSION}")
        manifest = msgspec.convert(value, Manifest)
        if manifest.kind not in KINDS:
            raise ValueError(f"its kind is {manifest.kind!r}, expected one of {', '.join(KINDS)}")
        for name in manifest.files:
            parts = name.split("/")
            # Names with a dot in front are those of the download itself.
            if not _SAFE_NAME.fullmatch(name) or any(p[:1] in ("", ".") for p in parts):
                raise ValueError(f"it names the unsafe file {name!r}")
        return manifest
    except DAMAGE as error:
        raise StoreError(f"{MANIFEST} of {repository}: {words_of(error)}", _HINT) from error
