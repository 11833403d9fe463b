"""A web server on this machine whose answers a test chooses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Literal, NamedTuple


class Answer(NamedTuple):
    body: bytes = b""
    code: int = 200
    length: int | None = -1
    """Content-Length; -1 for the true one, null for none."""
    chunked: Literal["", "cut"] = ""
    """`cut` for a chunked transfer that breaks off in its second chunk."""


class LocalServer:
    """Gives each path's answers in turn, the last one for ever; 404 for any other path."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[str] = []

    def serve(self, name: str, *answers: Answer | bytes) -> str:
        """Set the answers of a path; return its address."""
        self.answers[f"/{name}"] = [a if isinstance(a, Answer) else Answer(a) for a in answers]
        return f"{self.address}/{name}"

    def next(self, path: str) -> Answer:
        self.asked.append(path)
        waiting = self.answers.get(path, [Answer(code=404)])
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


@contextmanager
def local_server() -> Iterator[LocalServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = server.next(self.path)
            self.send_response(answer.code)
            self.send_header("Connection", "close")
            if answer.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            elif answer.length is not None:
                self.send_header("Content-Length", str(len(answer.body) if answer.length < 0 else answer.length))
            self.end_headers()
            if answer.chunked:
                self.wfile.write(b"%x\r\n%s\r\n%x\r\n" % (len(answer.body), answer.body, len(answer.body)))
            else:
                self.wfile.write(answer.body)
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = LocalServer(f"http://127.0.0.1:{http.server_port}")
        Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        http.shutdown()
