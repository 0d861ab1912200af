"""An OpenID provider for the tests: authorization code with PKCE, real keys and tokens, and a
switch for each thing that a hostile or broken one does."""

import base64
import hashlib
import http.server
import json
import secrets
import threading
import time
import urllib.parse

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm


def b64(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


class Provider:
    CLIENT, SECRET = "sealwright", "the client's own secret & more"

    def __init__(self, port):
        self.port = port
        self.issuer = f"http://127.0.0.1:{port}"
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.kids = {"RS256": "rsa-1", "ES256": "ec-1"}
        self.server = None
        self.reset()

    def reset(self):
        self.algorithm = "RS256"
        self.user = "alice"
        self.claims = {}        # in the place of the token's own
        self.token = None       # function of (claims) that makes the token
        self.iss = self.issuer  # of the answer; None: not said
        self.redirect = {}      # parameters in the place of the answer's
        self.auth_methods = None
        self.metadata = {}
        self.codes, self.asked, self.exchanged = {}, [], []
        self.status = {}        # path: HTTP status in place of the answer
        self.slow = {}          # path: seconds before the answer

    def keys(self):
        first = json.loads(RSAAlgorithm.to_jwk(self.rsa.public_key()))
        x = self.ec.public_key().public_numbers()
        second = {"kty": "EC", "crv": "P-256", "x": b64(x.x.to_bytes(32, "big")), "y": b64(x.y.to_bytes(32, "big"))}
        first.pop("key_ops", None)
        return {"keys": [{**first, "kid": self.kids["RS256"], "use": "sig", "alg": "RS256"},
                         {**second, "kid": self.kids["ES256"], "use": "sig"}]}  # fmt: skip

    def about(self):
        says = {
            "issuer": self.issuer, "authorization_endpoint": self.issuer + "/authorize?tenant=a",
            "token_endpoint": self.issuer + "/token", "jwks_uri": self.issuer + "/keys",
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "authorization_response_iss_parameter_supported": True,
        }  # fmt: skip
        if self.auth_methods:
            says["token_endpoint_auth_methods_supported"] = self.auth_methods
        return {**says, **self.metadata}

    def authorize(self, query):
        asked = dict(urllib.parse.parse_qsl(query, strict_parsing=True))
        self.asked.append(asked)
        assert asked["tenant"] == "a" and asked["response_type"] == "code"
        assert asked["client_id"] == self.CLIENT and "openid" in asked["scope"].split()
        assert asked["code_challenge_method"] == "S256" and len(asked["code_challenge"]) == 43
        assert len(asked["state"]) == 43 and len(asked["nonce"]) == 43
        assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        back = {"code": code, "state": asked["state"]}
        if self.iss:
            back["iss"] = self.iss
        back = {name: value for name, value in {**back, **self.redirect}.items() if value is not None}
        return asked["redirect_uri"] + "?" + urllib.parse.urlencode(back)

    def exchange(self, headers, body):
        form = dict(urllib.parse.parse_qsl(body.decode(), strict_parsing=True))
        self.exchanged.append(form)
        if self.auth_methods == ["client_secret_post"]:
            known = form.get("client_id") == self.CLIENT and form.get("client_secret") == self.SECRET
        else:
            kind, _, text = headers.get("Authorization", "").partition(" ")
            user, _, password = base64.b64decode(text).decode().partition(":")
            known = kind == "Basic" and (urllib.parse.unquote(user), urllib.parse.unquote(password)) == (
                self.CLIENT, self.SECRET)  # fmt: skip
        asked = self.codes.pop(form.get("code"), None)
        if not known:
            return 401, {"error": "invalid_client"}
        if not asked or form["redirect_uri"] != asked["redirect_uri"] or form["grant_type"] != "authorization_code":
            return 400, {"error": "invalid_grant"}
        if b64(hashlib.sha256(form["code_verifier"].encode()).digest()) != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": self.CLIENT, "sub": "sub-" + self.user, "iat": now, "exp": now + 300,
                  "nonce": asked["nonce"], "preferred_username": self.user}  # fmt: skip
        claims = {name: value for name, value in {**claims, **self.claims}.items() if value is not None}
        token = self.token(claims) if self.token else self.sign(claims)
        return 200, {"access_token": "unused", "token_type": "Bearer", "id_token": token}

    def sign(self, claims, kid=None):
        key = self.rsa if self.algorithm == "RS256" else self.ec
        return jwt.encode(claims, key, algorithm=self.algorithm, headers={"kid": kid or self.kids[self.algorithm]})

    def public_pem(self):
        return self.rsa.public_key().public_bytes(serialization.Encoding.PEM,
                                                  serialization.PublicFormat.SubjectPublicKeyInfo)  # fmt: skip

    def open(self):
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, body=b"", **headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def json(self, status, value):
                self.answer(status, json.dumps(value).encode(), Content_Type="application/json")

            def do_GET(self):
                path, _, query = self.path.partition("?")
                time.sleep(provider.slow.get(path, 0))
                if path in provider.status:
                    self.json(provider.status[path], {"error": "server_error"})
                elif path == "/.well-known/openid-configuration":
                    provider.looked = getattr(provider, "looked", 0) + 1
                    self.json(200, provider.about())
                elif path == "/keys":
                    provider.fetched = getattr(provider, "fetched", 0) + 1
                    self.json(200, provider.keys())
                elif path == "/authorize":
                    self.answer(302, Location=provider.authorize(query))
                else:
                    self.answer(404)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(provider.slow.get(self.path, 0))
                if "/token" in provider.status:
                    self.json(provider.status["/token"], {"error": "server_error"})
                else:
                    self.json(*provider.exchange(self.headers, body))

            def log_message(self, *words):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def close(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
        self.server = None
