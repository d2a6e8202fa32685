"""The choices of an engine and of a precision; light to import, for options."""

from __future__ import annotations

from typing import Literal

Engine = Literal["auto", "torch", "openvino"]
Precision = Literal["float32", "bfloat16"]
