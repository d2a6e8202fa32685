"""Whether a pretrained thing is in a directory, was downloaded before, or can be had from the hub.

Owns the one short question to the Hugging Face hub and its error. Leaves loading to its callers.
"""

from __future__ import annotations

from pathlib import Path

from fv2es_prep.errors import TokenizerError

_TIMEOUT_S = 5.0


def is_local(name_or_dir: str, what: str, option: str) -> bool:
    """Whether a pretrained thing can be loaded without the hub; if not, that the hub has it.

    transformers asks a hub that does not answer again and again for a minute; this asks once.

    Args:
        name_or_dir: a directory, or a name such as ``albert-base-v2``.
        what: what it is, for the message, e.g. ``tokenizer``.
        option: the command's option that names it, for the hint.

    Returns:
        True for a directory or something downloaded before, False for what the hub offers.

    Raises:
        TokenizerError: it is none of these.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    if Path(name_or_dir).is_dir():
        return True
    try:
        if isinstance(try_to_load_from_cache(name_or_dir, "config.json"), str):
            return True
        HfApi().model_info(name_or_dir, timeout=_TIMEOUT_S)
    except Exception as error:  # the hub's client changes its exceptions at will
        raise TokenizerError(
            f"the {what} {name_or_dir!r} is no directory here and could not be had from the "
            f"Hugging Face hub ({type(error).__name__})",
            "on a machine with a network run `hf download albert-base-v2 --local-dir albert`, "
            f"copy the directory albert here, and pass {option} albert",
        ) from error
    return False
