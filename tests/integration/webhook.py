"""A receiver of webhooks as an administrator would write one: it verifies before it believes."""

import base64
import hashlib
import hmac
import http.server
import json
import ssl
import threading
import time


def signature(secret, ident, when, body):
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    text = f"{ident}.{when}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


def verified(secret, headers, body, now=None):
    """Is it the sender's, unaltered and of these five minutes?"""
    ident, when = headers["webhook-id"], headers["webhook-timestamp"]
    wanted = signature(secret, ident, when, body)
    return hmac.compare_digest(wanted, headers["webhook-signature"]) and abs((now or time.time()) - int(when)) < 300


class Receiver:
    def __init__(self, port, secret, certificate=None, key=None):
        self.port, self.secret, self.certificate, self.key = port, secret, certificate, key
        self.got, self.requests = [], []  # events in order, each once; everything
        self.answer = lambda request: 204  # a status, or (status, headers)
        self.server = None

    def open(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append((self.path, headers, body))
                status = receiver.answer(receiver.requests[-1])
                extra = {}
                if isinstance(status, tuple):
                    status, extra = status
                if 200 <= status < 300 and headers["webhook-id"] not in [e["id"] for e in receiver.got]:
                    receiver.got.append({"id": headers["webhook-id"], **json.loads(body)})
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *words):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request, client_address):
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)  # fmt: skip
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def close(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
        self.server = None

    def wait(self, count, seconds=60):
        end = time.monotonic() + seconds
        while len(self.got) < count:
            assert time.monotonic() < end, (len(self.got), count, self.requests[-3:])
            time.sleep(0.1)
        return self.got
