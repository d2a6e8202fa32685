"""OpenVINO's core, and what this CPU can do."""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def core() -> Any:
    """One per process, never freed: freed cores restore signal handlers in a wrong order."""
    import openvino as ov

    return ov.Core()


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 numbers."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
