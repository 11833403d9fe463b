"""Downloads: whole and checked, or not there at all."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_server import Answer, LocalServer, local_server

from condgen import download as module
from condgen.download import download

BODY = bytes(range(256)) * 20_000  # five blocks
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()
CUT = Answer(BODY[:1_500_000], length=len(BODY))


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with local_server() as running:
        yield running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "file.bin"


def refused(kind: type[Exception], url: str, path: Path, **due: str | int | None) -> str:
    """Return the one line of a download that fails and leaves nothing behind."""
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(kind) as caught:
        download(url, path, **({"sha256": SHA256} | due))
    assert [file.name for file in path.parent.glob("*")] == ([] if before is None else [path.name])
    assert before is None or path.read_bytes() == before
    line = str(caught.value)
    assert "\n" not in line
    assert ".part" not in line
    return line


def test_what_is_right_arrives_whole_and_readable_by_others(server: LocalServer, path: Path) -> None:
    url = server.serve("file", BODY)
    before = os.umask(0o022)
    try:
        assert download(url, path, size=len(BODY), sha256=SHA256.upper(), md5=MD5) == path
    finally:
        os.umask(before)
    assert path.read_bytes() == BODY
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == [path.name]
    path.write_bytes(b"old")
    assert download(f"file://{write(path.parent / 'source', BODY)}", path, md5=MD5).read_bytes() == BODY


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "bad",
    [
        CUT,
        Answer(code=500),
        Answer(code=503),
        Answer(code=429),
        Answer(BODY[:1000], chunked="cut"),
        Answer(b"", length=len(BODY)),
    ],
    ids=["cut", "500", "503", "429", "chunks", "nothing"],
)
def test_what_may_pass_is_tried_again(bad: Answer, server: LocalServer, path: Path) -> None:
    url = server.serve("file", bad, bad, Answer(BODY))
    assert download(url, path, sha256=SHA256).read_bytes() == BODY
    assert len(server.asked) == 3
    assert os.listdir(path.parent) == [path.name]


def test_what_does_not_pass_is_one_line_that_names_address_and_reason(server: LocalServer, path: Path) -> None:
    for count, answer, reason in (
        (4, CUT, "it broke off after 1,500,000 of 5,120,000 bytes (4 tries)"),
        (4, Answer(code=500), "HTTP 500 Internal Server Error (4 tries)"),
        (1, Answer(code=404), "HTTP 404 Not Found"),
        (1, Answer(code=403), "HTTP 403 Forbidden"),
        (4, Answer(BODY[:1000], chunked="cut"), "it broke off after 1,000 bytes (4 tries)"),
    ):
        server.asked.clear()
        url = server.serve("file", answer)
        line = refused(OSError, url, path)
        assert line == f"{url} cannot be downloaded: {reason}"
        assert len(server.asked) == count
    server.asked.clear()
    assert "(4 tries)" not in refused(OSError, server.serve("file", CUT), path, retries=0)
    assert len(server.asked) == 1
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert "Connection refused (4 tries)" in refused(OSError, f"http://127.0.0.1:{port}/file", path)
    assert "No such file" in refused(OSError, f"file://{path.parent}/none", path)


def test_each_pause_is_twice_the_last(server: LocalServer, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(module, "PAUSE", 0.5)
    monkeypatch.setattr(time, "sleep", pauses.append)
    refused(OSError, server.serve("file", CUT), path)
    assert pauses == [0.5, 1.0, 2.0]


def test_a_server_that_hangs_or_hangs_up_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.1)

    def answer(listening: socket.socket, head: bytes, reset: bool, held: list[socket.socket]) -> None:
        while True:
            try:
                connection = listening.accept()[0]
            except OSError:
                return
            connection.recv(10_000)
            connection.sendall(head)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.close()
            else:
                held.append(connection)

    for head, reset, reason in (
        (b"", False, "for 0.1 seconds"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nbytes", False, "nothing came for 0.1 seconds (2 tries)"),
        (b"", True, "Connection reset by peer"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nbytes", True, "(2 tries)"),
        (b"no web server\r\n\r\n", True, "(2 tries)"),
    ):
        held: list[socket.socket] = []
        with socket.create_server(("127.0.0.1", 0)) as listening:
            threading.Thread(target=answer, args=(listening, head, reset, held), daemon=True).start()
            assert reason in refused(OSError, f"http://127.0.0.1:{listening.getsockname()[1]}/file", path, retries=1)
        for connection in held:
            connection.close()


def test_another_file_than_the_one_that_is_due_is_refused_by_name(server: LocalServer, path: Path) -> None:
    garbled = bytes([BODY[0] ^ 1]) + BODY[1:]
    url, due = server.serve("file", garbled), f"is not the {path.name} that is due: "
    found = hashlib.sha256(garbled).hexdigest()
    assert refused(ValueError, url, path) == f"{url} {due}its SHA-256 is {found}, not {SHA256}"
    found = hashlib.md5(garbled).hexdigest()
    assert refused(ValueError, url, path, sha256=None, md5=MD5) == f"{url} {due}its MD5 is {found}, not {MD5}"
    path.write_bytes(b"older")
    assert refused(ValueError, url, path, size=9) == f"{url} {due}it has more than 9 bytes"
    assert refused(ValueError, url, path, size=10**7) == f"{url} {due}it has 5,120,000 bytes, not 10,000,000"
    cut = server.serve("cut", Answer(BODY[:1000], length=None))  # nothing says that it is cut, but for the hash
    assert f"{cut} {due}its SHA-256" in refused(ValueError, cut, path)
    assert len(server.asked) == 5


def test_what_cannot_be_checked_or_is_no_address_is_not_downloaded(server: LocalServer, path: Path) -> None:
    url = server.serve("file", BODY)
    assert "no hash is given for" in refused(ValueError, url, path, sha256=None)
    for bad in ("ftp://127.0.0.1/file", "data:,x", "/etc/passwd", "jar:x"):
        assert refused(ValueError, bad, path).startswith(f"{bad} begins with ")
    assert server.asked == []
    assert not path.parent.exists()


def test_a_full_disk_is_said_at_once(server: LocalServer, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    line = refused(OSError, server.serve("file", BODY), path)
    assert line == f"{path} cannot be written: No space left on device"
    assert len(server.asked) == 1
    monkeypatch.undo()
    path.parent.rmdir()
    path.parent.write_text("a file where a folder is due")
    with pytest.raises(OSError, match=f"{path} cannot be written: File exists"):
        download(f"{server.address}/file", path, sha256=SHA256)


DOWNLOAD = """
import sys
from pathlib import Path
from condgen.download import download
url, path, sha256 = sys.argv[1:]
download(url, Path(path), sha256=sha256)
"""


def test_a_killed_download_leaves_no_file_and_two_at_once_leave_one(path: Path) -> None:
    command = [sys.executable, "-c", DOWNLOAD]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/file"
        process = subprocess.Popen([*command, url, str(path), SHA256])
        connection = listening.accept()[0]
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY[: 3 << 20])
        until = time.monotonic() + 20
        while not any(part.stat().st_size for part in path.parent.glob(".*.part")):
            assert time.monotonic() < until
            time.sleep(0.02)
        process.kill()
        process.wait()
        connection.close()
    assert not path.exists()
    (left,) = path.parent.iterdir()
    assert left.name.startswith(".file.bin.")
    with local_server() as server:
        url = server.serve("file", CUT, CUT, Answer(BODY))
        both = [subprocess.Popen([*command, url, str(path), SHA256]) for _ in range(2)]
        assert [process.wait() for process in both] == [0, 0]
    assert path.read_bytes() == BODY
    assert {file.name for file in path.parent.iterdir()} == {left.name, path.name}
