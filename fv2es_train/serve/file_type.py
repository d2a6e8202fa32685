"""The type of a file by its first bytes, never by its name; ffmpeg decides if it can be decoded."""

from __future__ import annotations

import re

HEAD_BYTES = 4096
_EBML, _RIFF, _FTYP = b"\x1a\x45\xdf\xa3", b"RIFF", b"ftyp"
_CONTAINERS = (
    *(_EBML, b"OggS", b"FLV\x01", b"fLaC", b"ID3", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3"),
    *(b"0&\xb2u\x8ef\xcf\x11", b"caff", b".snd", b"FORM", b".RMF", b"nut/multimedia", b"DKIF"),
    *(b"GIF87a", b"GIF89a", b"\x06\x0e\x2b\x34"),
)
_OTHERS = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"#!", "a script"),
    (b"#EXTM3U", "a playlist"),
    (b"ffconcat", "a playlist"),
)
_TEXTS = (
    (re.compile(r"(?i)\s*(<!doctype html|<html|<script|<head|<body)"), "an HTML page"),
    (re.compile(r"(?i)\s*<(\?xml|svg|mpd|smil)"), "an XML text"),
    (re.compile(r"(?i)\s*(#EXTM3U|#EXT-X|\[playlist\]|ffconcat)"), "a playlist"),
)
_TS_PACKET = 188


def is_container(head: bytes) -> bool:
    """Whether a file begins like one of the supported containers."""
    if head[:4] == _RIFF:
        return head[8:12] in (b"AVI ", b"WAVE")
    if head[4:8] in (_FTYP, b"moov", b"mdat", b"free", b"wide", b"skip"):
        return True
    packets = head[::_TS_PACKET][:4]
    if len(packets) > 1 and set(packets) == {0x47}:
        return True
    return head.startswith(_CONTAINERS)


def other_type(head: bytes) -> str:
    """The type of a file that is no media file, in words; empty if unknown."""
    if not head:
        return "an empty file"
    for start, name in _OTHERS:
        if head.startswith(start):
            return name
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # A character may be cut at the end of the head.
        if error.start < len(head) - 4:
            return ""
        text = head[: error.start].decode("utf-8-sig")
    for pattern, name in _TEXTS:
        if pattern.match(text):
            return name
    return "" if any(c < " " and c not in "\t\n\r\f" for c in text) else "a text"
