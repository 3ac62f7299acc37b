"""Public files: the user's folder comes first, a download is made once and checked, a failure is one error."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from sciflow.errors import SciflowError
from sciflow.runtime.downloads import Remote, find

BYTES = b"idx,smiles\n1,C\n"
SHA256 = "sha256:" + hashlib.sha256(BYTES).hexdigest()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """A server with one file, and an empty cache."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "table.csv").write_bytes(BYTES)
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.delenv("SCIFLOW_DATA", raising=False)
    monkeypatch.delenv("SCIFLOW_OFFLINE", raising=False)
    handler = partial(Quiet, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", tmp_path
        server.shutdown()


def test_a_file_is_downloaded_once(site: tuple[str, Path]) -> None:
    url, folder = site
    remote = Remote(f"{url}/table.csv", SHA256)
    path = find(["table.csv"], "things", remote)
    assert path.read_bytes() == BYTES
    (folder / "site" / "table.csv").unlink()  # the second time nobody asks the server
    assert find(["table.csv"], "things", remote) == path


def test_the_folder_of_the_user_comes_first(
    site: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = site
    own = folder / "own" / "things"
    own.mkdir(parents=True)
    (own / "table.csv.gz").write_bytes(b"mine")
    monkeypatch.setenv("SCIFLOW_DATA", str(folder / "own"))
    found = find(["table.csv", "table.csv.gz"], "things", Remote(f"{url}/table.csv", SHA256))
    assert found == own / "table.csv.gz"


def test_another_file_than_the_one_meant_is_refused_and_not_kept(site: tuple[str, Path]) -> None:
    url, folder = site
    with pytest.raises(SciflowError, match="another file than it was.*checksum sha256:00"):
        find(["table.csv"], "things", Remote(f"{url}/table.csv", "sha256:00"))
    assert not [path for path in (folder / "cache").rglob("*") if path.is_file()]


def test_what_cannot_be_had_is_one_error(
    site: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = site
    with pytest.raises(SciflowError, match=r"none\.csv: could not be downloaded.*SCIFLOW_DATA"):
        find(["none.csv"], "things", Remote(f"{url}/none.csv"))
    with pytest.raises(SciflowError, match=r"SCIFLOW_DATA: got 'nothing'.*put the file there"):
        find(["none.csv"], "things")
    monkeypatch.setenv("SCIFLOW_OFFLINE", "1")
    with pytest.raises(SciflowError, match="download it from http.*SCIFLOW_OFFLINE is set"):
        find(["table.csv"], "things", Remote(f"{url}/table.csv"))


def test_a_git_blob_is_known_by_its_name(tmp_path: Path) -> None:
    """The name that git gives to a file with "hello" and a line end."""
    (tmp_path / "hello").write_bytes(b"hello\n")
    remote = Remote("http://x/hello", "git:ce013625030ba8dba906f756967f9e9ca394464a")
    assert remote.matches(tmp_path / "hello")
    (tmp_path / "hello").write_bytes(b"hallo\n")
    assert not remote.matches(tmp_path / "hello")
