"""TensorBoard's event files, written without TensorBoard: scalars over steps.

Owns the bytes: a record (length, masked CRC-32C, data, masked CRC-32C) for each event, the event in
protocol buffers' wire form (tensorflow/core/util/event.proto and lib/io/record_writer.cc). Leaves
which numbers to `train`.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

from fv2es_prep.utils.files import cannot_write

_POLYNOMIAL = 0x82F63B78
_LENGTH_DELIMITED, _FIXED_64, _FIXED_32, _VARINT = 2, 1, 5, 0
_START = 1
_EVERY_S = 10.0


class Events:
    """Appends to one event file; each start of a run has its own.

    Args:
        directory: where the file goes.
        step: first step that will be written. TensorBoard forgets what an earlier, broken start
            wrote at and after it.

    Raises:
        OutputError: the file cannot be made.

    Attributes:
        path: of the file.
    """

    def __init__(self, directory: Path, step: int = 0) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            number = len(list(directory.glob("events.out.tfevents.*")))
        except OSError as error:
            raise cannot_write(directory, error) from error
        self.path = directory / f"events.out.tfevents.{number:010d}.fv2es"
        self._waiting = bytearray()
        self._write(_field(3, b"brain.Event:2"))
        self._write(_number(2, step) + _field(7, _number(1, _START)))
        self.flush()

    def scalars(self, step: int, values: dict[str, float | None]) -> None:
        """Write one number under each name; None is left out."""
        summary = b"".join(
            _field(1, _field(1, name.encode()) + _tag(2, _FIXED_32) + struct.pack("<f", value))
            for name, value in values.items()
            if value is not None
        )
        self._write(_number(2, step) + _field(5, summary))
        if time.monotonic() - self._flushed >= _EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Put what waits into the file; it happens every few seconds by itself.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            with self.path.open("ab") as file:
                file.write(self._waiting)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self._waiting.clear()
        self._flushed = time.monotonic()

    def _write(self, event: bytes) -> None:
        data = _tag(1, _FIXED_64) + struct.pack("<d", time.time()) + event
        length = struct.pack("<Q", len(data))
        self._waiting += length + _checksum(length) + data + _checksum(data)


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    return struct.pack("<I", masked)


def _table_entry(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE = [_table_entry(value) for value in range(256)]


def _tag(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _field(field: int, data: bytes) -> bytes:
    return _tag(field, _LENGTH_DELIMITED) + _varint(len(data)) + data


def _number(field: int, value: int) -> bytes:
    return _tag(field, _VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
