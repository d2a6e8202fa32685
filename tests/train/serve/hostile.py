"""Uploads that no server should take: (what it is, file name, bytes)."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.train.media import ffmpeg

Upload = tuple[str, str, bytes]
PLAIN = "video.mp4"


def hostile(place: Path, talk: Path) -> list[Upload]:
    """Two hundred of them.

    Args:
        place: where media are made.
        talk: a good video, for names that are bad and files that are cut.
    """
    found = [*_names(talk.read_bytes()), *_no_media(), *_playlists(place), *_over_limits(place)]
    found += _cut(place, talk)
    found += _heads_before_noise(200 - len(found))
    return found


def _names(data: bytes) -> Iterator[Upload]:
    bad = (
        *("../../etc/passwd", "../video.mp4", "..", "/etc/passwd", "a/b.mp4", "..\\..\\boot.ini"),
        *('say "hi".mp4', "it's.mp4", "a\\b.mp4", "C:video.mp4", "a*?.mp4", "a|b.mp4"),
        *("<img src=x onerror=alert(1)>.mp4", "a\tb.mp4", "a\x07b.mp4", "\u202egpj.mp4"),
        *("x" * 300 + ".mp4", "file:video.mp4", "http://127.0.0.1/video.mp4", "; rm -rf '~'.mp4"),
    )
    for name in bad:
        yield "a bad name", name, data


def _no_media() -> Iterator[Upload]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../evil.mp4", b"0" * 1000)
        file.writestr("bomb", b"\0" * (16 << 20), zipfile.ZIP_DEFLATED)
    files = {
        "zip": archive.getvalue(),
        "gzip bomb": gzip.compress(b"\0" * (16 << 20)),
        "nothing": b"",
        "one byte": b"\0",
        "zeros": bytes(1 << 20),
        "html": b"<!DOCTYPE html><html><body><script>alert(1)</script></body></html>",
        "html without doctype": b"\n  <html><img src=x onerror=alert(1)></html>",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        "xml": b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>",
        "text": b"root:x:0:0:root:/root:/bin/bash\n",
        "script": b"#!/bin/sh\nrm -rf ~\n",
        "python": b"import os\nos.system('id')\n",
        "json": b'{"start_s": 0}',
        "pdf": b"%PDF-1.7\n1 0 obj\n",
        "elf": b"\x7fELF\x02\x01\x01" + bytes(100),
        "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "jpeg": b"\xff\xd8\xff\xe0" + bytes(100),
        "pickle": b"\x80\x04\x95\x1a\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
        "7z": b"7z\xbc\xaf\x27\x1c" + bytes(100),
        "srt": b"1\n00:00:00,000 --> 00:00:03,000\nhello\n",
    }
    for what, data in files.items():
        yield what, PLAIN, data
        yield what, "no suffix", data


def _playlists(place: Path) -> Iterator[Upload]:
    """Files that name others; the one that is named is there and may be read."""
    secret = place / "secret.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc=d=1:s=64x64", secret)
    for target in (str(secret), f"file://{secret}", "/etc/passwd", "http://127.0.0.1:9/a.ts"):
        texts = {
            "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
            "m3u8 after a mark": f"\ufeff#EXTM3U\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
            "ffconcat": f"ffconcat version 1.0\nfile '{target}'\n",
            "mpd": f"<?xml version='1.0'?><MPD><BaseURL>{target}</BaseURL></MPD>",
            "pls": f"[playlist]\nFile1={target}\n",
            "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns={target}\nm=video 5004 RTP/AVP 96\n",
        }
        for what, text in texts.items():
            yield what, "list.m3u8", text.encode()
            yield what, PLAIN, text.encode()


def _over_limits(place: Path) -> Iterator[Upload]:
    """Sound media that are too small, too large or too long."""
    made = {
        "1 x 1 pixel": ("p1.avi", "-f lavfi -i color=s=1x1:d=2 -c:v rawvideo -pix_fmt bgr24"),
        "2 x 2 pixels": ("p2.mkv", "-f lavfi -i color=s=2x2:d=2 -c:v ffv1"),
        "8 x 400 pixels": ("p8.mkv", "-f lavfi -i color=s=8x400:d=2 -c:v ffv1"),
        "16 megapixels": ("m16.avi", "-f lavfi -i color=s=4096x4096:d=1:r=1 -c:v mjpeg"),
        "17 megapixels": ("m17.mkv", "-f lavfi -i color=s=8192x2160:d=1:r=1 -c:v mjpeg"),
        "ten hours of silence": ("h.flac", "-f lavfi -i anullsrc=r=8000:cl=mono -t 36000"),
        "ten hours of black": ("h.mkv", "-f lavfi -i color=s=64x64:r=1/60 -t 36000 -c:v mjpeg"),
        "ten hours, mp4": ("h.mp4", "-f lavfi -i color=s=64x64:r=1/60 -t 36000 -c:v mpeg4"),
    }
    for what, (name, options) in made.items():
        path = place / name
        ffmpeg(*options.split(), path)
        yield what, name, path.read_bytes()
    only_words = place / "words.mkv"
    cue = place / "words.srt"
    cue.write_text("1\n00:00:00,000 --> 00:00:03,000\nhello\n")
    ffmpeg("-i", cue, only_words)
    yield "a container with subtitles alone", "words.mkv", only_words.read_bytes()
    yield "an avi that says it is huge", "huge.avi", _huge_avi(place)


def _huge_avi(place: Path) -> bytes:
    path = place / "small.avi"
    ffmpeg("-f", "lavfi", "-i", "color=s=64x64:d=1", "-c:v", "rawvideo", "-pix_fmt", "bgr24", path)
    data = path.read_bytes()
    at = data.index(b"strf") + 8
    return data[: at + 4] + struct.pack("<ii", 60_000, 60_000) + data[at + 12 :]


def _cut(place: Path, talk: Path) -> Iterator[Upload]:
    """The beginnings of good files, too short for a single picture or sound."""
    data = talk.read_bytes()
    for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9):
        yield "an mp4 without its index", PLAIN, data[: int(share * len(data))]
    for suffix in ("avi", "mkv", "webm", "flv", "ogg", "wav", "mp3"):
        path = place / f"cut.{suffix}"
        kind = ("-vn",) if suffix in ("ogg", "wav", "mp3") else ("-an",)
        ffmpeg("-i", talk, "-t", "1", *kind, path)
        for count in (8, 40):
            yield f"{count} bytes of {suffix}", path.name, path.read_bytes()[:count]


def _heads_before_noise(count: int) -> Iterator[Upload]:
    """What begins as a container and goes on as noise, and noise alone."""
    heads = (
        *(b"", b"RIFF\xff\xff\xff\x7fAVI LIST", b"RIFF\xff\xff\xff\x7fWAVEfmt ", b"OggS\0\2"),
        *(b"\0\0\0\x18ftypisom\0\0\0\0", b"\x1a\x45\xdf\xa3\x9f", b"FLV\x01\x05\0\0\0\x09"),
        *(b"fLaC\0\0\0\x22", b"0&\xb2u\x8ef\xcf\x11", b"\0\0\x01\xba\x44", b"caff\0\1"),
    )
    draw = random.Random(0)
    for number in range(count):
        # Noise without 0xFF: no synchronising word of MPEG can come by chance.
        noise = bytes(draw.randrange(1, 255) for _ in range(draw.choice((30, 3_000, 60_000))))
        yield "noise", f"noise-{number}.avi", heads[number % len(heads)] + noise
