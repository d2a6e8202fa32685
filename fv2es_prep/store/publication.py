"""What `fv2es push` publishes: files of a run or dataset, their card, and their manifest."""

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
# Placeholder of the repository's name in a card.
NAME_IN_CARD = "OWNER/NAME"
# Kind of publication -> what the Hub calls its repository.
KINDS = {"run": "model", "shards": "dataset"}
_FORMAT, _VERSION = "fv2es-publication", "1.0"
_MOST_BYTES = 64 << 20
_SAFE_NAME = re.compile(r"[^\\:\x00-\x1f]{1,200}")
# Suffixes of files that are searched for local paths.
_TEXT = {".json", ".jsonl", ".md", ".csv", ".toml", ".txt"}
_HINT = "run `fv2es push` again"


@dataclass(frozen=True)
class Publication:
    """The content of one `fv2es push`.

    Attributes:
        kind: one of `KINDS`.
        files: name in the repository -> path or bytes of the file; without card and manifest.
        card: text of README.md; see `NAME_IN_CARD`.
        licence: what the licence of the data says, in one sentence.
    """

    kind: str
    files: Mapping[str, Path | bytes]
    card: str
    licence: str

    def sizes(self) -> dict[str, int]:
        """Name -> size in bytes, of all files except the manifest."""
        known = {n: len(v) if isinstance(v, bytes) else v.stat().st_size for n, v in self._all()}
        return dict(sorted(known.items()))

    def manifest(self) -> Manifest:
        """The digests of the files, without the card, since owners edit cards on the Hub."""
        sizes = self.sizes()
        digests = {
            name: sha256(v).hexdigest() if isinstance(v, bytes) else sha256_of(v)
            for name, v in self.files.items()
        }
        files = {name: StoredFile(digests[name], sizes[name]) for name in sorted(digests)}
        return Manifest(self.kind, self.licence, files)

    def contents(self) -> dict[str, Path | bytes]:
        """All files to send, with card and manifest."""
        return {**dict(self._all()), MANIFEST: self.manifest().to_bytes()}

    def refuse_places(self, *places: Path) -> None:
        """Raise UsageError if a text file contains one of these local directories."""
        # Not as part of a longer name or of a URL.
        named = "|".join(re.escape(str(p)) for p in sorted(places) if len(p.parts) > 1)
        pattern = re.compile(rf"(?<![\w/.])(?:{named})(?![\w.-])".encode())
        for name, value in self._all():
            if PurePosixPath(name).suffix not in _TEXT or not named:
                continue
            text = value if isinstance(value, bytes) else value.read_bytes()
            if found := pattern.search(text):
                raise UsageError(
                    f"{name} contains the local path {found[0].decode()} and is not sent",
                    "remove the path from the file",
                )

    def _all(self) -> Iterator[tuple[str, Path | bytes]]:
        yield from self.files.items()
        yield CARD, self.card.encode()


@dataclass(frozen=True)
class StoredFile:
    """SHA-256 and size in bytes of one published file."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Manifest:
    """The content of ``fv2es.json`` of a repository.

    Attributes:
        kind: one of `KINDS`.
        licence: what the licence of the data says, in one sentence.
        files: name -> digest and size, of all files except the card.
    """

    kind: str
    licence: str
    files: dict[str, StoredFile]

    @property
    def size_bytes(self) -> int:
        """Total size of all files in bytes."""
        return sum(file.size_bytes for file in self.files.values())

    def to_bytes(self) -> bytes:
        """The file's content."""
        head = {"format": _FORMAT, "format_version": _VERSION, "fv2es": __version__}
        return (json.dumps({**head, **asdict(self)}, indent=2, ensure_ascii=False) + "\n").encode()

    def problems(self, directory: Path) -> dict[str, str]:
        """Name -> problem of a file in the directory: missing, or with other bytes."""
        found = {}
        for name, expected in self.files.items():
            path = directory / name
            if not path.is_file():
                found[name] = "is missing"
            elif path.stat().st_size != expected.size_bytes:
                size = path.stat().st_size
                found[name] = f"has {size} bytes, {MANIFEST} says {expected.size_bytes}"
            elif sha256_of(path) != expected.sha256:
                found[name] = f"has a SHA-256 that differs from {MANIFEST}"
        return found


def read_manifest(path: Path, repository: str) -> Manifest:
    """Read ``fv2es.json`` of unknown origin.

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
            # The download itself uses names that start with a dot.
            if not _SAFE_NAME.fullmatch(name) or any(p[:1] in ("", ".") for p in parts):
                raise ValueError(f"it names the unsafe file {name!r}")
        return manifest
    except DAMAGE as error:
        raise StoreError(f"{MANIFEST} of {repository}: {words_of(error)}", _HINT) from error
