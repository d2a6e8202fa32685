"""Whether a pretrained model or tokenizer is local, cached, or on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from fv2es_prep.errors import TokenizerError
from fv2es_prep.utils.pretrained import check_pretrained

_TIMEOUT_S = 5.0


def is_local(name_or_dir: str, what: str, option: str) -> bool:
    """True for a directory or a cached download, which is checked; False for a name on the Hub.

    Makes one request, whereas transformers retries an unreachable Hub for a minute. ``what`` and
    ``option`` are for the message, e.g. ``tokenizer`` and ``--tokenizer``.

    Raises:
        TokenizerError: the name is none of these, or `check_pretrained` refuses the directory.
    """
    if (place := _place(name_or_dir)) is not None:
        check_pretrained(place, what, option)
        return True
    try:
        from huggingface_hub import HfApi

        HfApi().model_info(name_or_dir, timeout=_TIMEOUT_S)
    except Exception as error:  # the client's exceptions vary by version
        raise TokenizerError(
            f"the {what} {name_or_dir!r} is not a local directory, and the Hugging Face Hub "
            f"did not provide it ({type(error).__name__})",
            "run `hf download albert-base-v2 --local-dir albert` on a machine with network access, "
            f"copy the directory albert here, and pass {option} albert",
        ) from error
    return False


def is_here(name_or_dir: str) -> bool:
    """Whether the name is a directory or a cached download; does not use the network."""
    return _place(name_or_dir) is not None


def _place(name_or_dir: str) -> Path | None:
    if Path(name_or_dir).is_dir():
        return Path(name_or_dir)
    from huggingface_hub import try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(name_or_dir, "config.json")
    except ValueError:
        # Not a valid name of a model.
        return None
    return Path(cached).parent if isinstance(cached, str) else None
