"""Pushes a publication to the Hub, and pulls one with every byte checked."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from fv2es_prep.errors import OutputError, StoreError, UsageError
from fv2es_prep.store.hub_repository import HubRepository, refuse_without_token
from fv2es_prep.store.publication import (
    CARD,
    KINDS,
    MANIFEST,
    NAME_IN_CARD,
    Manifest,
    Publication,
    read_manifest,
)
from fv2es_prep.utils.console import say
from fv2es_prep.utils.files import cannot_write, make_directory, refuse_full

_PREFIXES = {"datasets/": "dataset", "models/": "model"}


def push(
    publication: Publication,
    name: str,
    *,
    private: bool = True,
    revision: str | None = None,
    message: str = "",
) -> str:
    """Send a publication in one commit; remove files of an earlier push that it no longer has.

    Args:
        publication: what to send.
        name: ``OWNER/NAME``; created if it does not exist.
        private: whether the repository is, or becomes, private.
        revision: branch; created if it does not exist.
        message: commit message.

    Returns:
        The commit.

    Raises:
        UsageError: there is no token, or the repository is public, but ``private`` is True.
        StoreError: the Hub cannot be reached or refuses the files.
    """
    refuse_without_token()
    repository = HubRepository(name, KINDS[publication.kind], revision)
    publication = replace(publication, card=publication.card.replace(NAME_IN_CARD, name))
    contents = publication.contents()
    found = repository.is_private()
    if private and found is False:
        raise UsageError(
            f"{repository.url} is public, expected a private repository",
            "pass --public if the licence permits everybody to read it",
        )
    repository.make(private)
    _, there = repository.names()
    gone = sorted(_sent_before(repository, there) & set(there) - set(contents))
    said = f"fv2es push: {publication.kind}, {len(publication.files)} files"
    say(f"send {len(contents)} files, {sum(publication.sizes().values()) / 1e6:.1f} MB")
    return repository.send(contents, gone, message or said)


def _sent_before(repository: HubRepository, names: list[str]) -> set[str]:
    """Names of the files that an earlier push sent; files that others added are not among them."""
    if MANIFEST not in names:
        return set()
    with tempfile.TemporaryDirectory() as place:
        repository.fetch([MANIFEST], Path(place))
        return set(read_manifest(Path(place) / MANIFEST, repository.name).files)


def pull(name: str, out: Path, revision: str | None = None) -> tuple[Manifest, str]:
    """Fetch what `push` sent into a new directory, which appears once all bytes are checked.

    Args:
        name: ``OWNER/NAME``, or ``datasets/OWNER/NAME`` if a model has the same name.
        out: new directory.
        revision: branch, tag or commit.

    Returns:
        The manifest, and the commit.

    Raises:
        UsageError: ``out`` is not empty.
        StoreError: the Hub cannot be reached, `push` did not make the repository, or a file's bytes
            differ from the manifest.
        OutputError: ``out`` cannot be written.
    """
    refuse_full(out)
    repository, commit, names = _found(name, revision)
    if MANIFEST not in names:
        sentence = f"{repository.url} has no {MANIFEST}: `fv2es push` did not make it"
        raise StoreError(sentence, "pass a repository that `fv2es push` made")
    # The same command continues here and keeps the files.
    partial = out.absolute().with_name(f".{out.name}.pull")
    make_directory(partial)
    repository.fetch([MANIFEST], partial)
    manifest = read_manifest(partial / MANIFEST, repository.name)
    _refuse_full_disk(partial, manifest)
    repository.fetch([*manifest.files, *({CARD} & set(names))], partial)
    problems = manifest.problems(partial)
    for broken in problems:
        (partial / broken).unlink(missing_ok=True)
    for broken, problem in problems.items():
        raise StoreError(
            f"{broken} of {repository.url} {problem}",
            "run the same command again; if it fails again, ask the owner to push again",
        )
    try:
        # The client's own notes, which contain local paths.
        shutil.rmtree(partial / ".cache", ignore_errors=True)
        if out.is_dir():
            out.rmdir()
        partial.replace(out)
    except OSError as error:
        raise cannot_write(out, error) from error
    return manifest, commit


def _found(name: str, revision: str | None) -> tuple[HubRepository, str, list[str]]:
    """Repository, commit and file names of the model with this name, otherwise of the dataset."""
    kinds = list(KINDS.values())
    for prefix, kind in _PREFIXES.items():
        if name.startswith(prefix):
            name, kinds = name.removeprefix(prefix), [kind]
    there = [k for k in kinds if HubRepository(name, k).is_private() is not None]
    repository = HubRepository(name, (there or kinds)[0], revision)
    commit, names = repository.names()
    return replace(repository, revision=commit), commit, names


def _refuse_full_disk(directory: Path, manifest: Manifest) -> None:
    there = sum((directory / n).stat().st_size for n in manifest.files if (directory / n).is_file())
    needed, free = manifest.size_bytes - there, shutil.disk_usage(directory).free
    if needed > free:
        raise OutputError(
            f"{directory} has {free / 1e9:.1f} GB free, expected {needed / 1e9:.1f} GB",
            "choose a directory on a larger disk with --out",
        )
