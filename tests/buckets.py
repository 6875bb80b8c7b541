"""A server that speaks S3's protocol on loopback (moto's), behind a proxy that spoils what goes through."""

import contextlib
import http.client
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest

DENIED = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
)


class Faults:
    """What the proxy does to requests; each is told of (method, path) and returns whether it strikes.

    broken: answered with 500. denied: answered with 403 and `answer`. slow: seconds before the answer. cut_put: the
    connection ends in the middle of the body, of which the store gets nothing. cut_get: it ends in mid-answer. lost:
    the store did what was asked, and the connection ends before the answer.
    """

    def __init__(self):
        self.clear()

    def clear(self):
        self.broken = self.denied = self.cut_put = self.cut_get = self.lost = lambda method, path: False
        self.slow = lambda method, path: 0.0
        self.answer = DENIED
        self.seen = []


def first(count, wanted=lambda method, path: True):
    """A fault that strikes the first `count` requests that are `wanted`."""
    left = [count]

    def strikes(method, path):
        if left[0] and wanted(method, path):
            left[0] -= 1
            return True
        return False

    return strikes


def only(method, ending=""):
    """Requests of this `method` for objects whose name has this `ending`."""
    return lambda m, path: m == method and path.endswith(ending)


def every(n, wanted=lambda method, path: True):
    """A fault that strikes every `n`th of the requests that are `wanted`."""
    count = [0]

    def strikes(method, path):
        count[0] += wanted(method, path)
        return wanted(method, path) and count[0] % n == 0

    return strikes


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def pass_on(self):
        with self.server.at_work:
            self.server.requests += 1
        try:
            self._pass_on()
        finally:
            with self.server.at_work:
                self.server.requests -= 1

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

    def _pass_on(self):
        faults, path = self.server.faults, self.path.partition("?")[0]
        faults.seen.append((self.command, path))
        if faults.cut_put(self.command, path):
            if self.headers.get("Content-Length") != "0":
                self.rfile.read1(1000)
            return self.cut()
        body = self.body()
        time.sleep(faults.slow(self.command, path))
        if faults.broken(self.command, path):
            return self.give(500, {}, b"")
        if faults.denied(self.command, path):
            return self.give(403, {"Content-Type": "application/xml"}, faults.answer)
        store = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=30)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("expect", "transfer-encoding")}
        headers["Content-Length"] = str(len(body))
        store.request(self.command, self.path, body, headers)
        answer = store.getresponse()
        content = answer.read()
        store.close()
        if faults.lost(self.command, path):
            return self.cut()
        headers = {k: v for k, v in answer.getheaders() if k.lower() not in ("connection", "transfer-encoding")}
        return self.give(answer.status, headers, content, faults.cut_get(self.command, path))

    def body(self):
        """What came with the request; an error where its sender ended before it was whole: the store gets nothing."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if len(body) < length:
                raise ConnectionError(f"{len(body)} of {length} bytes came")
            return body
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def give(self, status, headers, content, cut=False):
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("server", "date", "content-length"):
                self.send_header(name, value)
        size = headers.get("Content-Length") or headers.get("content-length") or len(content)
        self.send_header("Content-Length", str(size if self.command == "HEAD" else len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.cut()

    def cut(self):
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


class Server:
    """moto behind a proxy: `uri(bucket, folder)` names a folder there, `faults` say what the proxy spoils."""

    def __init__(self):
        moto = pytest.importorskip("moto.server")
        self._moto = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        self._moto.start()
        self.faults = Faults()
        self._proxy = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._proxy.daemon_threads = True
        self._proxy.handle_error = lambda *_: None
        self._proxy.behind = self._moto.get_host_and_port()[1]
        self._proxy.faults = self.faults
        self._proxy.at_work, self._proxy.requests = threading.Lock(), 0
        threading.Thread(target=self._proxy.serve_forever, daemon=True).start()
        self.port = self._proxy.server_address[1]
        self._buckets = 0

    def bucket(self):
        """The name of a new, empty bucket."""
        self._buckets += 1
        self.ask("PUT", f"/bucket-{self._buckets}")
        return f"bucket-{self._buckets}"

    def uri(self, folder, key="key:secret@"):
        return f"s3://{key}{folder}?endpoint_override=127.0.0.1%3A{self.port}&scheme=http"

    def ask(self, method, path, body=None):
        """A request of the test's own, which no fault strikes."""
        connection = http.client.HTTPConnection("127.0.0.1", self._proxy.behind, timeout=30)
        signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request"}
        connection.request(method, quote(path, safe="/?=&%"), body, signed)
        content = connection.getresponse().read()
        connection.close()
        return content

    def settle(self, seconds=60):
        """Wait until no request is on its way: one of a driver that was killed may still reach the store."""
        end = time.monotonic() + seconds
        while self._proxy.requests:
            assert time.monotonic() < end, f"{self._proxy.requests} requests are still on their way"
            time.sleep(0.01)

    def close(self):
        self._proxy.shutdown()
        self._proxy.server_close()
        with contextlib.suppress(Exception):
            self._moto.stop()
