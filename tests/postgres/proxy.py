"""A TCP proxy before a server, which cuts a connection where a test says: before or after a commit took effect."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Literal

When = Literal["before", "after"]


class Proxy:
    """Forwards bytes between clients and a server on 127.0.0.1 until it is told to cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._cut_at_commit: When | None = None
        self.cuts = 0
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut_at_commit(self, when: When) -> None:
        """Cut the next connection that commits: before the server hears of it, or before the client has the answer."""
        self._cut_at_commit = when

    def cut_all(self) -> None:
        """Cut every connection that is open now."""
        for each in list(self._open):
            _close(each)

    def close(self) -> None:
        _close(self._listener)
        self.cut_all()
        for thread in self._threads:
            thread.join(10)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._to))
            self._open += [client, server]
            answers_cut = threading.Event()
            for work in (
                threading.Thread(target=self._questions, args=(client, server, answers_cut), daemon=True),
                threading.Thread(target=self._answers, args=(server, client, answers_cut), daemon=True),
            ):
                self._threads.append(work)
                work.start()

    def _questions(self, client: socket.socket, server: socket.socket, answers_cut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 20):
                # Entries are sent with their commit, in one pipeline, and nowhere else.
                if self._cut_at_commit and b'"recorded_at"' in data:
                    when, self._cut_at_commit = self._cut_at_commit, None
                    self.cuts += 1
                    if when == "before":
                        break
                    answers_cut.set()
                server.sendall(data)
        _close(client)
        if not answers_cut.is_set():
            _close(server)

    def _answers(self, server: socket.socket, client: socket.socket, answers_cut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 20):
                if answers_cut.is_set():
                    # It has been carried out, as the answer is here; the client never sees it.
                    break
                client.sendall(data)
        _close(server)
        _close(client)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
