"""A Hub of our own: the part of its HTTP API that huggingface_hub uses to send and fetch files."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote

import yaml

TOKEN = "hf_" + "t" * 34
# Larger files go through LFS.
_INLINE_BYTES = 1000
_KINDS, _NAME = "(models|datasets)", "([^/]+/[^/]+)"
_API = re.compile(rf"/api/{_KINDS}/{_NAME}(?:/(revision|preupload|commit|branch)/(.+))?")
_BATCH = re.compile(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch")
_FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass
class Repository:
    private: bool
    gated: bool = False
    branches: dict[str, str] = field(default_factory=lambda: {"main": "0" * 40})
    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"0" * 40: {}})
    messages: list[str] = field(default_factory=list)

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        sha = self.branches.get(revision, revision)
        return (sha, self.commits[sha]) if sha in self.commits else None

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        key = repr((self.branches[branch], sorted(files.items())))
        sha = hashlib.sha1(key.encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        return sha


@dataclass
class Hub:
    """What it holds: ``models/OWNER/NAME`` -> repository, digest -> large file."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    # Digests in the order in which they were sent.
    sent: list[str] = field(default_factory=list)
    # Refuse large files after so many.
    room: int = 1000


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """A Hub on a free port of this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    # An answer is one packet: else the second waits 40 ms for the first to be acknowledged.
    wbufsize = -1

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        if match := _API.fullmatch(path):
            kind, name, _, revision = match.groups()
            found = self._repository(f"{kind}/{name}")
            at = found and found.at(revision or "main")
            if found and at:
                files = [{"rfilename": n} for n in at[1]]
                self._json({"id": name, "sha": at[0], "private": found.private, "siblings": files})
            elif found:
                self._json({"error": "no revision"}, 404, code="RevisionNotFound")
        elif match := _FILE.fullmatch(path):
            prefix, name, revision, file = match.groups()
            found = self._repository(f"{'datasets' if prefix else 'models'}/{name}")
            at = found and found.at(revision)
            if found and not (at and file in at[1]):
                self._json({"error": "no file"}, 404, code="EntryNotFound")
            elif at:
                self._file(at[1][file], at[0])
        else:
            self._json({"error": f"unknown: {path}"}, 404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        oid, content = self.path.rpartition("/")[2], self._body()
        if len(self.hub.sent) >= self.hub.room:
            self._json({"error": "no room"}, 507)
            return
        assert hashlib.sha256(content).hexdigest() == oid
        self.hub.sent.append(oid)
        self.hub.large[oid] = content
        self._json({})

    def do_POST(self) -> None:
        path, body = unquote(self.path.partition("?")[0]), self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json({"error": "Invalid username or password."}, 401)
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif match := _BATCH.fullmatch(path):
            self._batch(json.loads(body)["objects"])
        elif path == "/api/validate-yaml":
            card = json.loads(body)["content"]
            front = yaml.safe_load(card.split("---")[1]) if card.startswith("---") else {}
            assert isinstance(front, dict)
            self._json({"errors": [], "warnings": []})
        elif match := _API.fullmatch(path):
            kind, name, what, revision = match.groups()
            if not (found := self._repository(f"{kind}/{name}")):
                return
            if what == "preupload":
                files = [
                    {**f, "uploadMode": "lfs" if f["size"] > _INLINE_BYTES else "regular"}
                    for f in json.loads(body)["files"]
                ]
                self._json({"files": [{**f, "shouldIgnore": False} for f in files]})
            elif what == "branch":
                known = revision in found.branches
                found.branches.setdefault(revision, found.branches["main"])
                self._json({}, 409 if known else 200)
            elif what == "commit":
                self._commit(found, revision, [json.loads(line) for line in body.splitlines()])
        else:
            self._json({"error": f"unknown: {path}"}, 404)

    def _create(self, asked: dict[str, Any]) -> None:
        owner, kind = asked["organization"], asked.get("type") or "model"
        key, known = f"{kind}s/{owner}/{asked['name']}", self.hub.repositories
        if owner == "others":
            self._json({"error": "You don't have the rights to create this."}, 403)
            return
        status = 409 if key in known else 200
        private = asked.get("private") or asked.get("visibility") == "private"
        known.setdefault(key, Repository(bool(private)))
        self._json({"url": f"{self.hub.url}/{key.removeprefix('models/')}"}, status)

    def _batch(self, objects: list[dict[str, Any]]) -> None:
        for one in objects:
            if one["oid"] not in self.hub.large:
                one["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"}}
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, found: Repository, branch: str, lines: list[dict[str, Any]]) -> None:
        files = dict(found.commits[found.branches[branch]])
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                found.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        sha = found.commit(branch, files)
        self._json({"commitUrl": f"{self.hub.url}/o/n/commit/{sha}", "commitOid": sha})

    def _repository(self, key: str) -> Repository | None:
        found = self.hub.repositories.get(key)
        signed_in = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if found and found.gated:
            self._json({"error": "Accept the conditions"}, 403, code="GatedRepo")
            return None
        if found and (signed_in or not found.private):
            return found
        self._json({"error": "Repository not found"}, 404, code="RepoNotFound")
        return None

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _file(self, content: bytes, sha: str) -> None:
        etag = hashlib.sha256(content).hexdigest()
        begin = re.fullmatch(r"bytes=(\d+)-.*", self.headers.get("Range", ""))
        part = content[int(begin[1]) :] if begin else content
        self.send_response(206 if begin else 200)
        if begin:
            shown = f"bytes {begin[1]}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", shown)
        for name, value in (("ETag", f'"{etag}"'), ("X-Repo-Commit", sha)):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(part)

    def _json(self, value: Any, status: int = 200, code: str = "") -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
