"""A repository of the Hugging Face Hub: creates it, and lists, sends and fetches its files.

Endpoint, token and offline mode are those of huggingface_hub (``HF_ENDPOINT``, ``HF_TOKEN``,
``HF_HUB_OFFLINE``). Every failure becomes a one-sentence error.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.errors import Fv2esError, StoreError, UsageError, words_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_AGAIN = "check the network and HF_ENDPOINT, then run the same command again to continue"
_SIGN_IN = (
    "run `hf auth login`, or set HF_TOKEN to a token of https://huggingface.co/settings/tokens"
)
_DOWNLOADS = 8
_DENIED = {401: "refuses the token", 403: "does not permit this with the token"}


@dataclass(frozen=True)
class HubRepository:
    """A repository by its name.

    Attributes:
        name: ``OWNER/NAME``.
        kind: ``model`` or ``dataset``.
        revision: branch, tag or commit; None is the default branch.
    """

    name: str
    kind: str
    revision: str | None = None

    @property
    def url(self) -> str:
        """URL of its page."""
        return f"{_api().endpoint}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"

    def is_private(self) -> bool | None:
        """Whether it is private; None if it does not exist or the token cannot see it."""
        from huggingface_hub.errors import RepositoryNotFoundError

        with told("read", self.name):
            try:
                info = _api().repo_info(self.name, repo_type=self.kind)
            except RepositoryNotFoundError:
                return None
            return bool(info.private)

    def make(self, private: bool) -> None:
        """Create the repository and its branch if they do not exist."""
        with told("make", self.name):
            api = _api()
            api.create_repo(self.name, repo_type=self.kind, private=private, exist_ok=True)
            if self.revision:
                branch, kind = self.revision, self.kind
                api.create_branch(self.name, branch=branch, repo_type=kind, exist_ok=True)

    def names(self) -> tuple[str, list[str]]:
        """The current commit of the revision, and the names of its files."""
        with told("read", self.name):
            info: Any = _api().repo_info(self.name, repo_type=self.kind, revision=self.revision)
            return str(info.sha), [file.rfilename for file in info.siblings or ()]

    def send(self, contents: Mapping[str, Path | bytes], gone: Sequence[str], message: str) -> str:
        """Send files and remove others, in one commit; returns the commit.

        Large files go first; files that the Hub already has are not sent again.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        operations: list[Any] = [CommitOperationAdd(n, value) for n, value in contents.items()]
        operations += [CommitOperationDelete(name) for name in gone]
        given: dict[str, Any] = {"repo_type": self.kind, "revision": self.revision}
        with told("write", self.name):
            made = _api().create_commit(self.name, operations, commit_message=message, **given)
            return str(made.oid)

    def fetch(self, names: Sequence[str], directory: Path) -> None:
        """Fetch files into a directory; keep files that are already there."""
        api = _api()
        given: dict[str, Any] = {"repo_type": self.kind, "revision": self.revision}

        def one(name: str) -> None:
            api.hf_hub_download(self.name, name, local_dir=directory, **given)

        with told("read", self.name), ThreadPoolExecutor(_DOWNLOADS) as threads:
            list(threads.map(one, names))


def refuse_without_token() -> None:
    """Raise UsageError if no token is stored or set."""
    from huggingface_hub import get_token

    if not get_token():
        raise UsageError("there is no token of the Hugging Face Hub on this machine", _SIGN_IN)


@contextlib.contextmanager
def told(what: str, name: str) -> Iterator[None]:
    """Turn the client's exceptions, which vary by version, into one-sentence errors."""
    try:
        yield
    except Fv2esError:
        raise
    except Exception as error:
        raise _told(what, name, error) from error


def _told(what: str, name: str, error: Exception) -> Fv2esError:
    from huggingface_hub import constants, errors

    hub, said = constants.ENDPOINT, f"cannot {what} {name} on the Hugging Face Hub"
    # A failed upload is the cause of a thread's error, a failed download that of a cache error.
    wrapped = isinstance(error, RuntimeError | errors.LocalEntryNotFoundError)
    cause = error.__cause__ if wrapped and error.__cause__ else error
    if isinstance(cause, errors.HFValidationError):
        return UsageError(f"{name!r} is not the name of a repository", "pass OWNER/NAME")
    if isinstance(cause, errors.OfflineModeIsEnabled) or constants.HF_HUB_OFFLINE:
        return StoreError(
            f"{said}: HF_HUB_OFFLINE is set", "unset it on a machine with network access"
        )
    if isinstance(cause, errors.GatedRepoError):
        hint = f"accept them on {hub}/{name}, signed in as the owner of the token"
        return StoreError(f"{said}: you have not accepted its conditions", hint)
    if isinstance(cause, errors.RepositoryNotFoundError):
        return StoreError(
            f"{said}: it does not exist, or is private and the token cannot see it", _SIGN_IN
        )
    if isinstance(cause, errors.RevisionNotFoundError):
        return StoreError(
            f"{said}: it has no such revision", f"choose a branch listed on {hub}/{name}"
        )
    if isinstance(cause, errors.HfHubHTTPError):
        status = cause.response.status_code
        if status in _DENIED:
            hint = f"{_SIGN_IN}, with write permission for {name}"
            return StoreError(f"{said}: {hub} {_DENIED[status]} (HTTP {status})", hint)
        server = cause.server_message or "no message"
        return StoreError(f"{said}: {hub} answered HTTP {status}: {server}", _AGAIN)
    if "xet-" in str(cause):
        return StoreError(f"{said}: {hub} has no Xet storage", "set HF_HUB_DISABLE_XET=1")
    return StoreError(f"{said}: {type(cause).__name__}: {words_of(cause)}", _AGAIN)


def _api() -> HfApi:
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    return HfApi(library_name="fv2es")
