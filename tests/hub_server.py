"""A local server that speaks the Hugging Face hub's HTTP API, with faults on request. For models and datasets.

    with HubServer() as hub:
        repo = hub.add("org/tiny")                                # or add("org/rows", type="dataset")
        commit = repo.commit({"config.json": b"{}", "model.safetensors": Path("...")}, "step1")   # branch step1
        repo.commit(Path("directory"))                            # branch main
        hub.fail("*/config.json", "status", status=500, times=2)
        subprocess.run(..., env=os.environ | hub.environment(home))   # HF_ENDPOINT, HF_HOME and an empty HF_TOKEN

In one process with huggingface_hub, which reads its environment when it is imported, hand ``endpoint=hub.endpoint`` to
its functions. Revisions are branches, tags (``repo.tag(name, commit)``), names like refs/convert/parquet, and commits.

It takes uploads from whoever has the server's ``token``: repositories are made, large files (LFS) go to the store by
one PUT each unless it has them, and a commit, on top of the parent that it names, is taken as a whole or refused.
``hub.stored`` has what was uploaded to the store. Uploads go by the LFS protocol; Xet is not spoken, so
:meth:`HubServer.environment` switches it off.

What it answers: repository and revision info, tree listings (in pages, ``hub.page`` entries each), paths-info, refs,
whoami, and files: small ones by a redirect to the resolve-cache, large ones (LFS: by suffix or size) by a redirect to a
store on another host name, with X-Repo-Commit, X-Linked-ETag, X-Linked-Size and ETag headers and byte ranges. Errors
have the hub's X-Error-Code and X-Error-Message. ``add(..., private=True)`` hides a repository from whoever has not the
server's ``token``; ``gated=True`` shows everything but the files.

Faults (:meth:`HubServer.fail`) hit requests whose ``repository@revision/file`` (files) or URL path (API) matches a
pattern, ``times`` times: ``status`` (with ``retry_after`` and headers), ``drop`` (the connection is cut after ``after``
bytes), ``cut`` (the connection ends after ``after`` bytes of what is sent to the server), ``corrupt`` (one byte
differs), ``slow`` (``delay`` seconds before each 64 KiB), ``no-range`` (a range is
ignored). ``hub.served`` counts bytes of file bodies by name of the file, ``hub.requests`` lists every request.

It also answers as an HTTP proxy for any host, so that the use of proxies can be tested.
"""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".bin", ".parquet", ".h5", ".msgpack", ".model", ".pt", ".zip", ".arrow")
LFS_BYTES = 10 * 2**20
TOKEN = "hf_local"
_CHUNK = 2**16


@dataclass(frozen=True)
class File:
    """Content of a file in a commit, as bytes or as a path that is read when asked for."""

    content: bytes | Path
    size: int
    sha256: str
    blob: str
    lfs: bool

    @classmethod
    def of(cls, name: str, content: bytes | Path) -> File:
        data = content.read_bytes() if isinstance(content, Path) else content
        lfs = name.endswith(LFS_SUFFIXES) or len(data) > LFS_BYTES
        sha256 = hashlib.sha256(data).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(data)}\n".encode()
        stored = pointer if lfs else data
        blob = hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()
        return cls(content, len(data), sha256, blob, lfs)

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.blob

    def read(self) -> bytes:
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content

    def entry(self, path: str) -> dict:
        """How listings describe the file."""
        entry = {"type": "file", "oid": self.blob, "size": self.size, "path": path}
        return entry | ({"lfs": {"oid": self.sha256, "size": self.size, "pointerSize": 130}} if self.lfs else {})


@dataclass
class Repository:
    """Commits and what points to them. ``type`` is model or dataset."""

    name: str
    type: str = "model"
    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Mapping[str, bytes | Path] | Path, branch: str = "main") -> str:
        """Make ``files`` (name -> content, or all files of a directory) the branch's content; returns the commit."""
        if isinstance(files, Path):
            files = {str(path.relative_to(files)): path for path in sorted(files.rglob("*")) if path.is_file()}
        made = {name: File.of(name, content) for name, content in files.items()}
        said = json.dumps([self.name, branch, len(self.commits), sorted((n, f.etag) for n, f in made.items())])
        commit = hashlib.sha1(said.encode()).hexdigest()
        self.commits[commit] = made
        self.branches[branch] = commit
        return commit

    def change(self, files: Mapping[str, File | None], branch: str = "main") -> str:
        """Make a commit in which the ``files`` are new or others, or gone where None; returns the commit."""
        before = self.commits.get(self.branches.get(branch, ""), {})
        after = {name: file for name, file in {**before, **files}.items() if file is not None}
        said = json.dumps([self.name, branch, len(self.commits), sorted((n, f.etag) for n, f in after.items())])
        commit = hashlib.sha1(said.encode()).hexdigest()
        self.commits[commit] = after
        self.branches[branch] = commit
        return commit

    def tag(self, name: str, commit: str) -> None:
        self.tags[name] = commit

    def resolve(self, revision: str) -> str | None:
        known = self.branches | self.tags
        return known.get(revision.removeprefix("refs/heads/")) or (revision if revision in self.commits else None)


@dataclass
class Fault:
    """What goes wrong, and how often it still will."""

    pattern: str
    kind: str
    times: int
    options: dict


class HubServer:
    """The server, running in a thread between ``with`` and its end."""

    def __init__(self, token: str = TOKEN, page: int = 1000) -> None:
        self.token, self.page = token, page
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.served: Counter[str] = Counter()
        self.stored: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        #: Where large files are, another origin than the endpoint, as on the hub.
        self.store = f"http://localhost:{self.port}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, type: str = "model", private: bool = False, gated: bool = False) -> Repository:
        """An empty repository of the type."""
        return self.repositories.setdefault((type, name), Repository(name, type, private, gated))

    def environment(self, home: Path, token: str = "") -> dict[str, str]:
        """Environment variables with which huggingface_hub uses this server and nothing of the user's."""
        cleared = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_HUB_OFFLINE"), "")
        places = {"HF_HOME": home, "HF_HUB_CACHE": home / "hub", "HF_DATASETS_CACHE": home / "datasets"}
        own = {"HF_ENDPOINT": self.endpoint, "HF_TOKEN": token, "HF_HUB_DISABLE_TELEMETRY": "1"}
        own |= {"HF_HUB_DISABLE_XET": "1"}
        return cleared | own | {name: str(path) for name, path in places.items()}

    def fail(self, pattern: str, kind: str, times: int = 1, **options: object) -> None:
        """Let the next ``times`` requests for what matches ``pattern`` go wrong; see the module's docstring."""
        assert kind in ("status", "drop", "cut", "corrupt", "slow", "no-range"), kind
        self._faults.append(Fault(pattern, kind, times, options))

    def heal(self) -> None:
        """Forget all faults."""
        self._faults.clear()

    def count(self, method: str, pattern: str) -> int:
        """Number of requests so far whose path matches."""
        return sum(m == method and fnmatch.fnmatchcase(path, pattern) for m, path, _ in self.requests)

    def take_fault(self, subject: str, kinds: tuple[str, ...]) -> Fault | None:
        """The first fault that is due for ``subject``, counted down."""
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and fault.kind in kinds and fnmatch.fnmatchcase(subject, fault.pattern):
                    fault.times -= 1
                    return fault
        return None


class _Refused(Exception):
    def __init__(self, status: int, code: str = "", message: str = "", headers: Mapping[str, str] | None = None):
        self.status, self.code, self.message, self.headers = status, code, message, dict(headers or {})


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        url = urlsplit(self.path)
        self._query = parse_qs(url.query)
        length = int(self.headers.get("Content-Length") or 0)
        if length and (fault := self.hub.take_fault(url.path, ("cut",))):
            self.rfile.read(min(length, fault.options.get("after", length // 2)))
            self.close_connection = True
            return
        self._body = self.rfile.read(length)
        self.hub.requests.append((self.command, url.path, {k.lower(): v for k, v in self.headers.items()}))
        try:
            self._fault(url.path)
            self._route(url.path.strip("/").split("/"))
        except _Refused as refused:
            headers = {"X-Error-Code": refused.code, "X-Error-Message": refused.message, **refused.headers}
            body = json.dumps({"error": refused.message or f"status {refused.status}"}).encode()
            self._send(refused.status, body, {k: v for k, v in headers.items() if v})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _fault(self, subject: str) -> None:
        if fault := self.hub.take_fault(subject, ("status",)):
            options = fault.options
            headers = dict(options.get("headers", {}))
            if "retry_after" in options:
                headers["Retry-After"] = str(options["retry_after"])
            raise _Refused(options["status"], options.get("code", ""), options.get("message", ""), headers)

    def _route(self, parts: list[str]) -> None:
        match parts:
            case ["api", "whoami-v2"]:
                if not self._authorized:
                    raise _Refused(401, "", "Invalid username or password.")
                self._json({"type": "user", "name": "someone", "orgs": [], "auth": {"type": "access_token"}})
            case ["api", "repos", "create"]:
                self._create()
            case ["api", "validate-yaml"]:
                self._json({"errors": [], "warnings": []})
            case ["uploads", oid]:
                self._receive(oid)
            case ["api", "resolve-cache", kind, *rest]:
                self._file(kind, rest, cached=True)
            case ["api", ("models" | "datasets") as kind, *rest]:
                self._api(kind, rest)
            case ["store", kind, *rest]:
                self._file(kind, rest, stored=True)
            case ["datasets", owner, name, "info", "lfs", "objects", "batch"] if name.endswith(".git"):
                self._batch("datasets", [owner, name.removesuffix(".git")])
            case ["datasets", *rest]:
                self._file("datasets", rest)
            case _:
                self._file("models", parts)

    @property
    def _authorized(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def _repository(self, kind: str, rest: list[str]) -> tuple[Repository, list[str]]:
        """The repository that the path begins with, and what follows."""
        for length in (2, 1):
            repository = self.hub.repositories.get((kind[:-1], "/".join(rest[:length])))
            if repository and len(rest) >= length and not (repository.private and not self._authorized):
                return repository, rest[length:]
        if self._authorized:
            raise _Refused(404, "RepoNotFound", "Repository not found")
        # Whoever has no token is not told whether a repository exists.
        raise _Refused(401, "RepoNotFound", "Invalid username or password.")

    def _commit(self, repository: Repository, revision: str) -> tuple[str, dict[str, File]]:
        commit = repository.resolve(unquote(revision))
        if commit is None:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {unquote(revision)}")
        return commit, repository.commits[commit]

    def _api(self, kind: str, rest: list[str]) -> None:
        repository, rest = self._repository(kind, rest)
        match rest:
            case []:
                self._info(repository, "main")
            case ["revision", revision]:
                self._info(repository, revision)
            case ["refs"]:
                refs = [("branches", "refs/heads/", repository.branches), ("tags", "refs/tags/", repository.tags)]
                answer = {
                    key: [
                        {"name": name, "ref": prefix + name, "targetCommit": commit}
                        for name, commit in known.items()
                        if not name.startswith("refs/")
                    ]
                    for key, prefix, known in refs
                }
                converts = [
                    {"name": name.removeprefix("refs/convert/"), "ref": name, "targetCommit": commit}
                    for name, commit in repository.branches.items()
                    if name.startswith("refs/convert/")
                ]
                self._json({**answer, "converts": converts})
            case ["preupload", _]:
                self._preupload(repository)
            case ["commit", branch]:
                self._take(repository, unquote(branch))
            case ["tree", revision, *path]:
                self._tree(repository, revision, "/".join(map(unquote, path)))
            case ["paths-info", revision]:
                _, files = self._commit(repository, revision)
                if "json" in self.headers.get("Content-Type", ""):
                    asked = json.loads(self._body)["paths"]
                else:
                    asked = parse_qs(self._body.decode()).get("paths", [])
                folders = _folders(files)
                found = [files[path].entry(path) for path in asked if path in files]
                self._json(found + [_folder(path) for path in asked if path.strip("/") in folders])
            case _:
                raise _Refused(404, "", "Sorry, we can't find the page you are looking for.")

    def _must_write(self) -> None:
        if not self._authorized:
            raise _Refused(403 if self.headers.get("Authorization") else 401, "", "You may not write here.")

    def _create(self) -> None:
        self._must_write()
        asked = json.loads(self._body)
        key = asked["type"], f"{asked['organization']}/{asked['name']}"
        if key in self.hub.repositories:
            raise _Refused(409, "", "You already created this repo")
        repository = self.hub.add(key[1], type=key[0], private=asked.get("visibility") == "private")
        repository.commit({".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"})
        self._json({"url": f"{self.hub.endpoint}/{key[0]}s/{key[1]}", "name": key[1], "id": "0"})

    def _preupload(self, repository: Repository) -> None:
        self._must_write()
        files = repository.commits.get(repository.branches.get("main", ""), {})
        answers = []
        for asked in json.loads(self._body)["files"]:
            path = asked["path"]
            lfs = path.endswith(LFS_SUFFIXES) or asked["size"] > LFS_BYTES
            known = {"oid": files[path].etag} if path in files else {}
            answers.append({"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False, **known})
        self._json({"files": answers})

    def _batch(self, kind: str, rest: list[str]) -> None:
        """Where the large files that the store lacks are to be sent."""
        self._repository(kind, rest)
        self._must_write()
        answers: list[dict[str, Any]] = []
        for asked in json.loads(self._body)["objects"]:
            upload = {"href": f"{self.hub.store}/uploads/{asked['oid']}"}
            known = asked["oid"] in self.hub.stored
            answers.append({**asked, **({} if known else {"actions": {"upload": upload}})})
        self._json({"transfer": "basic", "objects": answers})

    def _receive(self, oid: str) -> None:
        """A large file for the store; the address was signed when it was given out."""
        if hashlib.sha256(self._body).hexdigest() != oid:
            raise _Refused(400, "", "The content is not that of the checksum")
        self.hub.stored[oid] = self._body
        self._send(200, b"", {})

    def _take(self, repository: Repository, branch: str) -> None:
        """A commit, as a whole or not at all."""
        self._must_write()
        head = repository.branches.get(branch)
        files: dict[str, File | None] = {}
        for line in self._body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            match entry["key"]:
                case "header":
                    if value.get("parentCommit") not in (None, head):
                        raise _Refused(412, "", "A commit has happened since. Please refresh and try again.")
                case "file":
                    files[value["path"]] = File.of(value["path"], base64.b64decode(value["content"]))
                case "lfsFile":
                    if value["oid"] not in self.hub.stored:
                        raise _Refused(400, "", f"{value['path']} was not uploaded")
                    files[value["path"]] = File.of(value["path"], self.hub.stored[value["oid"]])
                case "deletedFile":
                    files[value["path"]] = None
        commit = repository.change(files, branch)
        kind = f"{repository.type}s"
        self._json({"commitUrl": f"{self.hub.endpoint}/{kind}/{repository.name}/commit/{commit}", "commitOid": commit})

    def _info(self, repository: Repository, revision: str) -> None:
        commit, files = self._commit(repository, revision)
        siblings = [{"rfilename": path} for path in files]
        if "blobs" in self._query:
            siblings = [{"rfilename": path, "size": file.size, "blobId": file.blob} for path, file in files.items()]
            for sibling in siblings:
                file = files[sibling["rfilename"]]
                if file.lfs:
                    sibling["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": 130}
        said = {"_id": commit[:24], "id": repository.name, "sha": commit, "private": repository.private}
        times = {"lastModified": "2024-01-01T00:00:00.000Z", "createdAt": "2024-01-01T00:00:00.000Z"}
        gated = "manual" if repository.gated else False
        self._json({**said, **times, "gated": gated, "disabled": False, "tags": [], "siblings": siblings})

    def _tree(self, repository: Repository, revision: str, folder: str) -> None:
        _, files = self._commit(repository, revision)
        inside = f"{folder}/" if folder else ""
        recursive = self._query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries = [_folder(path) for path in sorted(_folders(files)) if path.startswith(inside)]
        entries += [file.entry(path) for path, file in sorted(files.items()) if path.startswith(inside)]
        if not entries and folder:
            raise _Refused(404, "EntryNotFound", f"{folder} does not exist on {revision!r}")
        if not recursive:
            entries = [entry for entry in entries if "/" not in entry["path"][len(inside) :]]
        start = int(self._query.get("cursor", ["0"])[0])
        end = start + self.hub.page
        headers = {}
        if end < len(entries):
            path = urlsplit(self.path).path
            following = f"{self.hub.endpoint}{path}?recursive={recursive}&cursor={end}"
            headers["Link"] = f'<{following}>; rel="next"'
        self._json(entries[start:end], headers)

    def _file(self, kind: str, rest: list[str], cached: bool = False, stored: bool = False) -> None:
        """A file: first a redirect, then, from the cache or the store, its bytes."""
        if stored:  # the address was signed when it was given out
            length = 2 if len(rest) > 3 and (kind[:-1], "/".join(rest[:2])) in self.hub.repositories else 1
            repository, rest = self.hub.repositories[kind[:-1], "/".join(rest[:length])], rest[length:]
        else:
            repository, rest = self._repository(kind, rest)
        if not rest or (not cached and not stored and rest[0] != "resolve"):
            raise _Refused(404, "", "Sorry, we can't find the page you are looking for.")
        revision, *path = rest if cached or stored else rest[1:]
        commit, files = self._commit(repository, revision)
        name = "/".join(map(unquote, path))
        subject = f"{repository.name}@{unquote(revision)}/{name}"
        if not stored and repository.gated and not self._authorized:
            where = f"Access to {kind[:-1]} {repository.name} is restricted."
            status = 403 if self.headers.get("Authorization") else 401
            raise _Refused(
                status, "GatedRepo", f"{where} You must have access to it and be authenticated to access it."
            )
        if name not in files:
            raise _Refused(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        file = files[name]
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if cached or stored:
            self._fault(subject)
            self._content(file, subject, name, headers | {"ETag": f'"{file.etag}"'})
            return
        place = f"{kind}/{repository.name}/{commit}/{quote(name)}"
        linked = {"X-Linked-Size": str(file.size), "X-Linked-ETag": f'"{file.etag}"'}
        location = f"{self.hub.store}/store/{place}" if file.lfs else f"/api/resolve-cache/{place}"
        self._send(302 if file.lfs else 307, b"", headers | linked | {"Location": location})

    def _content(self, file: File, subject: str, name: str, headers: dict[str, str]) -> None:
        data, status = file.read(), 200
        asked = self.headers.get("Range")
        if asked and not self.hub.take_fault(subject, ("no-range",)):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(int(last) if last else file.size - 1, file.size - 1)
            if begin >= file.size:
                raise _Refused(416, "", "Range Not Satisfiable", {"Content-Range": f"bytes */{file.size}"})
            headers["Content-Range"] = f"bytes {begin}-{end}/{file.size}"
            data, status = data[begin : end + 1], 206
        if self.command == "HEAD":
            self._send(status, b"", headers, len(data))
            return
        if (fault := self.hub.take_fault(subject, ("corrupt",))) and data:
            at = fault.options.get("at", len(data) // 2)
            data = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        drop = self.hub.take_fault(subject, ("drop",))
        slow = self.hub.take_fault(subject, ("slow",))
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if drop:
            data = data[: drop.options.get("after", len(data) // 2)]
        for start in range(0, len(data), _CHUNK):
            if slow:
                time.sleep(slow.options["delay"])
            chunk = data[start : start + _CHUNK]
            self.wfile.write(chunk)
            with self.hub._lock:
                self.hub.served[name] += len(chunk)
        self.wfile.flush()
        if drop:
            self.close_connection = True

    def _json(self, value: object, headers: Mapping[str, str] | None = None) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body)


def _folders(files: Mapping[str, File]) -> set[str]:
    return {str(parent) for path in files for parent in Path(path).parents if str(parent) != "."}


def _folder(path: str) -> dict:
    return {"type": "directory", "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0, "path": path}
