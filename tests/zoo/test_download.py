"""Downloads from a real server on this machine, which breaks off, answers with pages, and knows ranges."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from segwright.errors import WeightsError
from segwright.zoo.download import fetch
from segwright.zoo.entry import Weights

CONTENT = bytes(range(256)) * 20_000  # 5 MB
HASH = hashlib.sha256(CONTENT).hexdigest()[:8]


class Server(ThreadingHTTPServer):
    """Serves CONTENT; ``breaks_after`` bytes of an answer the connection ends."""

    breaks_after: int | None = None
    page: bytes | None = None
    knows_ranges = True
    asked: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        body = self.server.page or CONTENT
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.knows_ranges else 0
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:] if self.server.breaks_after is None else body[start:][: self.server.breaks_after])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "cache"


def weights(server: Server, name: str = f"net-{HASH}.pth") -> Weights:
    return Weights(f"http://127.0.0.1:{server.server_port}/{name}", "cityscapes", None, None, "", "")


def test_file_is_downloaded_once(server: Server, cache: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = fetch(weights(server), lambda done, total: seen.append((done, total)))
    assert path == cache / f"net-{HASH}.pth"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert fetch(weights(server)) == path
    assert server.asked == [None]


def test_broken_download_goes_on_where_it_ended(server: Server, cache: Path) -> None:
    server.breaks_after = 3_000_000
    with pytest.raises(WeightsError, match=r"cannot be downloaded .*goes on where it broke off"):
        fetch(weights(server))
    assert [path.name for path in cache.iterdir()] == [f"net-{HASH}.pth.part"]
    server.breaks_after = None
    assert fetch(weights(server)).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=3000000-"]


def test_whole_part_file_needs_only_its_name(server: Server, cache: Path) -> None:
    cache.mkdir()
    (cache / f"net-{HASH}.pth.part").write_bytes(CONTENT)
    assert fetch(weights(server)).read_bytes() == CONTENT


def test_server_without_ranges_starts_anew(server: Server, cache: Path) -> None:
    cache.mkdir()
    (cache / f"net-{HASH}.pth.part").write_bytes(b"old")
    server.knows_ranges = False
    assert fetch(weights(server)).read_bytes() == CONTENT


def test_wrong_hash_is_named_and_the_file_removed(server: Server, cache: Path) -> None:
    with pytest.raises(WeightsError, match=f"gave a file of hash {HASH} where the hash begins with 01234567"):
        fetch(weights(server, "net-01234567.pth"))
    assert list(cache.iterdir()) == []


def test_web_page_in_place_of_the_file_is_told(server: Server, cache: Path) -> None:
    server.page = b"<!DOCTYPE html><html><body>Please log in</body></html>"
    with pytest.raises(WeightsError, match="gave a web page"):
        fetch(weights(server))
    assert list(cache.iterdir()) == []


def test_missing_file_on_the_server_is_an_error(server: Server) -> None:
    with pytest.raises(WeightsError, match=r"missing-.*cannot be downloaded \(Not Found\)"):
        fetch(weights(server, f"missing-{HASH}.pth"))


def test_no_network_is_one_sentence(cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot be downloaded .*; try again"):
        fetch(Weights(f"http://127.0.0.1:9/net-{HASH}.pth", "cityscapes", None, None, "", ""))


def test_offline_asks_nobody_but_takes_what_is_there(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"is not in .*cache and the network is forbidden"):
        fetch(weights(server))
    assert server.asked == []
    cache.mkdir()
    (cache / f"net-{HASH}.pth").write_bytes(CONTENT)
    assert fetch(weights(server)).read_bytes() == CONTENT
