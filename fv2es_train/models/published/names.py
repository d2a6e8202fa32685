"""How the published model calls each of our weights, and what of it nothing reads.

Owns the names, as data. Leaves tensors to `mapping`. The published names are those of the state
dict of ``MME2E`` in github.com/MultimodalAffectiveComputing/FV2ES, V2EM/src/model/c_e2e.py.
"""

from __future__ import annotations

# Our prefix and theirs; a name that begins with none of ours is the same in both.
PARTS = (
    ("text.", "T."),
    ("face.stack.", "V."),
    ("face.project.", "v_flatten."),
    ("mel.nest.", "A.0."),
    ("mel.project.", "a_flatten."),
)

# Inside layer N of V, whose branches have names of their own; ``0.`` is a fused block's
# convolution.
BRANCHES = (
    ("dense.", "rbr_dense."),
    ("pointwise.", "rbr_1x1."),
    ("identity.", "rbr_identity."),
    ("0.", "rbr_reparam."),
)

# In the file, but read by nothing on the way to the logits. They may be there or not; what is
# there is kept beside the weights.
UNUSED_HEAD = ("A.0.head.weight", "A.0.head.bias")
POOLER = ("T.albert.pooler.weight", "T.albert.pooler.bias")
# A buffer that transformers before 4.31 saved.
POSITIONS = "T.albert.embeddings.position_ids"
# The face detector is a part of the published network; ours ran when the shards were made.
DETECTOR = "mtcnn."


def published_name(ours: str) -> str:
    """The published name of one of our weights.

    Args:
        ours: a name in the state dict of `FV2ES`.
    """
    for prefix, theirs in PARTS:
        if ours.startswith(prefix):
            rest = ours.removeprefix(prefix)
            return theirs + (_layer_name(rest) if theirs == "V." else rest)
    return ours


def is_ignored(published: str) -> bool:
    """Whether a published name is ignored: nothing reads it on the way to the logits."""
    return published.startswith(DETECTOR) or published in (*UNUSED_HEAD, *POOLER, POSITIONS)


def _layer_name(rest: str) -> str:
    number, _, inside = rest.partition(".")
    for prefix, theirs in BRANCHES:
        if inside.startswith(prefix):
            return f"{number}.{theirs}{inside.removeprefix(prefix)}"
    return rest
