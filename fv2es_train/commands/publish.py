"""`fv2es push` and `fv2es pull`: runs and datasets on the Hugging Face Hub."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fv2es_prep.utils.console import Json, print_json
from fv2es_prep.utils.tables import wrapped

if TYPE_CHECKING:
    from fv2es_prep.store.publication import Publication

Repository = Annotated[str, typer.Argument(help="Repository on the Hub.", metavar="OWNER/NAME")]


def push(
    place: Annotated[
        Path, typer.Argument(help="Run, packed run, or directory of shards.", metavar="RUN|SHARDS")
    ],
    repository: Repository,
    public: Annotated[
        bool, typer.Option("--public/--private", help="Visibility of a new repository.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(help="Branch; created if it does not exist.", metavar="BRANCH")
    ] = None,
    message: Annotated[str, typer.Option(help="Message of the commit.")] = "",
    allowed: Annotated[
        str,
        typer.Option(
            "--license-allows",
            help="Shards: the reason why you may pass the data on; the card quotes it.",
            metavar="SENTENCE",
        ),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be sent, and stop.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send a run or shards to the Hugging Face Hub, with a card and the digests of all files.

    A new repository is private. HF_ENDPOINT and HF_TOKEN are honoured.
    """
    from fv2es_prep.store import hub_transfer

    with _publication(place, allowed) as publication:
        publication.refuse_places(Path.home(), Path.cwd(), place.resolve())
        sizes, commit = publication.sizes(), None
        if not dry_run:
            given: dict[str, Any] = {"revision": revision, "message": message}
            commit = hub_transfer.push(publication, repository, private=not public, **given)
    told = {"repository": repository, "kind": publication.kind, "commit": commit}
    if as_json:
        print_json({**told, "public": public, "licence": publication.licence, "files": sizes})
        return
    if dry_run:
        typer.echo("\n".join(f"{size:>13,}  {name}" for name, size in sizes.items()))
    typer.echo(f"{'would send' if dry_run else 'sent'} {_counted(sizes)} to {repository}")
    typer.echo(wrapped(f"licence: {publication.licence}"))


def pull(
    repository: Repository,
    out: Annotated[Path, typer.Option(help="New directory.")],
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit.", metavar="REVISION")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fetch a run or shards that `fv2es push` sent, and check every byte.

    predict, serve and eval take the directory as a run; train takes shards.
    """
    from fv2es_prep.store import hub_transfer

    manifest, commit = hub_transfer.pull(repository, out, revision)
    sizes = {name: file.size_bytes for name, file in manifest.files.items()}
    told = {"repository": repository, "kind": manifest.kind, "commit": commit, "out": str(out)}
    if as_json:
        print_json({**told, "licence": manifest.licence, "files": sizes})
        return
    typer.echo(f"wrote {out}: {manifest.kind}, {_counted(sizes)}, all digests match")
    typer.echo(wrapped(f"licence: {manifest.licence} (see {out / 'README.md'})"))


def _publication(place: Path, allowed: str) -> AbstractContextManager[Publication]:
    from fv2es_prep.utils.files import url_of

    if url_of(place) or (place / "index.json").is_file():
        from fv2es_prep.shards.tools.published_dataset import published_dataset

        return nullcontext(published_dataset(place, allowed))
    from fv2es_train.models.published_run import published_run

    return published_run(place)


def _counted(sizes: dict[str, int]) -> str:
    return f"{len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB"
