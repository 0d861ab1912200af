"""The admin API over HTTPS and the unix socket, as an administrator and as a stranger."""

import concurrent.futures
import email.utils
import http.client
import json
import re
import socket
import ssl

import pytest
from conftest import run


def problem(answer, status):
    """RFC 9457, with the words that docs/api.md promises."""
    assert answer.status == status, (answer.status, answer.body)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json
    assert body["status"] == status
    assert body["type"].startswith("urn:sealwright:problem:")
    assert body["title"] and body["instance"]
    return body


def pointers(body):
    return {error["pointer"] for error in body.get("errors", [])}


# ---- Who may call (SECURITY A6) ----


@pytest.mark.parametrize("token", ["", "x", "0" * 43, "Bearer"])
def test_A6_a_wrong_token_is_refused(house, token):
    answer = house.call(
        "GET", house.secure + "/api/v1/users", headers={"Authorization": f"Bearer {token}"}
    )
    body = problem(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert "token" not in body["detail"]


def test_A6_no_credential_is_refused_on_localhost_and_the_socket_too(house):
    problem(house.call("GET", house.secure + "/api/v1/users"), 401)
    plain = house.call("GET", house.base + "/api/v1/users")
    assert plain.status in (403, 404)
    connection = UnixConnection(house.data / "sealwright.sock")
    connection.request("GET", "/api/v1/users")
    assert connection.getresponse().status == 401


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


def test_the_socket_serves_the_api_and_is_the_owners_alone(house):
    assert (house.data / "sealwright.sock").stat().st_mode & 0o077 == 0
    connection = UnixConnection(house.data / "sealwright.sock")
    connection.request(
        "GET", "/api/v1/users", headers={"Authorization": f"Bearer {house.token}"}
    )
    reply = connection.getresponse()
    assert reply.status == 200 and "items" in json.loads(reply.read())


ROLES = ["administrator", "operator", "approver", "auditor"]


def test_A6_roles_as_the_description_says(house):
    """Every call of the API with every role: 403 exactly where x-roles leaves it out."""
    tokens = {}
    for role in ROLES:
        house.good("POST", "/admins", {"name": f"only-{role}", "roles": [role]})
        made = house.good("POST", "/tokens", {"admin": f"only-{role}"})
        tokens[role] = made["token"]
    description = house.good("GET", "/openapi.json")
    seen = 0
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            for role in ROLES:
                target = re.sub(r"{\w+}", "no-such-thing", path) + "?dry_run=true"
                if method == "get":
                    target = target.split("?")[0]
                answer = house.api(method.upper(), target, token=tokens[role])
                is_forbidden = answer.status == 403
                assert is_forbidden == (role not in operation["x-roles"]), (
                    method, path, role, answer.status, answer.body,
                )  # fmt: skip
                seen += 1
    assert seen > 150


def test_A6_a_disabled_administrator_is_refused_and_the_last_one_stays(house):
    house.good("POST", "/admins", {"name": "gone", "roles": ["auditor"]})
    token = house.good("POST", "/tokens", {"admin": "gone"})["token"]
    assert house.api("GET", "/audit", token=token).status == 200
    tag = house.api("GET", "/admins/gone").headers["ETag"]
    house.good("PATCH", "/admins/gone", {"disabled": True}, headers={"If-Match": tag})
    problem(house.api("GET", "/audit", token=token), 401)


def test_admin_by_client_certificate(house, tmp_path):
    """A certificate of ours, named in the admin's record, is a credential too."""
    house.user("boss")
    made = house.challenge("boss", subject="CN=boss")
    run("pki", "--scepca", "--url", house.scep(), "--caout", "ca.pem", "--raout",
        "ra.pem", "--outform", "pem", cwd=tmp_path)  # fmt: skip
    key = run("pki", "--gen", "--type", "rsa", "--size", "2048", "--outform", "pem")
    (tmp_path / "k.pem").write_bytes(key.stdout)
    done = run(
        "pki", "--scep", "--url", house.scep(), "--in", "k.pem", "--dn", "CN=boss",
        "--password", made["challenge"], "--cacert-enc", "ra.pem", "--cacert-sig",
        "ra.pem", "--cacert", "ca.pem", "--cipher", "des3", "--outform", "pem",
        cwd=tmp_path,
    )  # fmt: skip
    (tmp_path / "c.pem").write_bytes(done.stdout)
    digest = run("openssl", "x509", "-in", tmp_path / "c.pem", "-noout", "-fingerprint",
                 "-sha256").out  # fmt: skip
    sha256 = digest.split("=")[1].strip().replace(":", "").lower()
    context = house.tls_context(tmp_path / "c.pem", tmp_path / "k.pem")
    url = house.secure + "/api/v1/users"
    assert house.call("GET", url, context=context).status == 401
    house.good("POST", "/admins", {
        "name": "boss", "roles": ["auditor"], "certificate_sha256": sha256})  # fmt: skip
    assert house.call("GET", url, context=context).status == 200
    serial = house.certificates(user="boss")[0]["serial"]
    house.good("POST", f"/certificates/{serial}/revoke", {"reason": "superseded"})
    assert house.call("GET", url, context=context).status == 401


# ---- Bodies ----


@pytest.mark.parametrize(
    "raw, pointer",
    [
        ('{"name": "u1", "colour": "red"}', "/colour"),
        ("{}", "/name"),
        ('{"name": 7}', "/name"),
        ('{"name": "U1"}', "/name"),
        ('{"name": "../x"}', "/name"),
        ('{"name": "u1", "email": ["a@b.example"]}', "/email"),
        ('{"name": "u1", "email": "no mailbox"}', "/email"),
        ('{"name": "u1", "state": "asleep"}', "/state"),
        ('{"name": "u1", "display_name": "a\\u0000b"}', None),
        ('{"name": "u1", "display_name": "line\\nbreak"}', "/display_name"),
        ('{"name": "u1", "display_name": "\\u202egnp"}', "/display_name"),
        ('{"name": "u1", "version": 4}', "/version"),
        ('{"name": "u1", "name": "u2"}', None),
        ('{"name": "u1"} x', None),
        ('["name"]', None),
        ("", None),
        ('{"name": ' + "[" * 100 + "]" * 100 + "}", None),
        ('{"name": "' + "a" * 65 + '"}', "/name"),
        ('{"name": "\xff"}', None),
    ],
)
def test_bad_bodies_are_refused_by_pointer_and_change_nothing(house, raw, pointer):
    before = house.good("GET", "/users?limit=1000")
    answer = house.api("POST", "/users", raw=raw.encode("latin-1"))
    body = problem(answer, 400)
    if pointer:
        assert pointer in pointers(body)
    assert house.good("GET", "/users?limit=1000") == before


def test_all_errors_of_a_body_are_named_at_once(house):
    answer = house.api("POST", "/profiles/certificate", {
        "name": "bad", "settings": {
            "issuer": "issuing", "validity": "1 year", "keys": [{"algorithm": "dsa"}],
            "extended_key_usage": ["any"], "subjekt": "CN=x"}})  # fmt: skip
    found = pointers(problem(answer, 400))
    assert {"/settings/validity", "/settings/keys/0/algorithm"} <= found
    assert "/settings/subjekt" in found


def test_the_wrong_media_type_is_refused(house):
    answer = house.api("POST", "/users", raw=b"name=u1", headers={
        "Content-Type": "application/x-www-form-urlencoded"})  # fmt: skip
    problem(answer, 415)


def test_a_body_over_the_limit_is_refused(house):
    raw = json.dumps({"name": "u1", "attributes": {"x": "a" * (1536 << 10)}}).encode()
    # The host's own problem: no API code has seen it.
    problem(house.api("POST", "/users", raw=raw), 413)


@pytest.mark.parametrize("path, status", [
    ("/users?limit=0", 400), ("/users?limit=1001", 400), ("/users?limit=x", 400),
    ("/users?colour=red", 400), ("/users?q=a&q=b", 400), ("/nothing", 404),
    ("/users/nobody", 404), ("/users/%2e%2e", 400), ("/users/a%00b", 400),
    ("/certificates?expires_before=soon", 400), ("/users?after=", 400),
])  # fmt: skip
def test_bad_paths_and_queries(house, path, status):
    assert house.api("GET", path).status == status


def test_another_method_says_which_are_taken(house):
    answer = house.api("DELETE", "/users")
    problem(answer, 405)
    assert "GET" in answer.headers["Allow"] and "POST" in answer.headers["Allow"]


def test_what_the_configuration_lacks_is_a_conflict_not_a_wrong_method(house):
    house.user("unwritten")
    answer = house.api("POST", "/users/unwritten/invitation", {})
    problem(answer, 409)
    assert "mail.server" in answer.json["detail"] and answer.headers["Allow"] is None


# ---- Conditions, repeats, dry runs ----


def test_if_match_is_required_and_must_be_current(house):
    house.user("cond")
    problem(house.api("PATCH", "/users/cond", {"display_name": "A"}), 428)
    first = house.api("GET", "/users/cond").headers["ETag"]
    changed = house.api(
        "PATCH", "/users/cond", {"display_name": "A"}, headers={"If-Match": first}
    )
    assert changed.status == 200 and changed.headers["ETag"] != first
    assert changed.headers["Cache-Control"] == "no-store"
    stale = house.api(
        "PATCH", "/users/cond", {"display_name": "B"}, headers={"If-Match": first}
    )
    problem(stale, 412)
    problem(house.api("DELETE", "/users/cond", headers={"If-Match": first}), 412)
    assert house.good("GET", "/users/cond")["display_name"] == "A"
    # The tag as it was given, nothing that a reader of numbers takes for it.
    number = house.api("GET", "/users/cond").headers["ETag"].strip('"')
    for tag in ("yesterday", "", '""', number, f'"{number}', f'{number}"', f'"+{number}"',
                f'"-{number}"', f'" {number}"', f'"{number} "', f'"0{number}"', f'"{number}"x',
                f'W/"{number}"', f'"{number}", "1"', '"0"', '"99999999999999999999"'):  # fmt: skip
        bad = {"If-Match": tag}
        problem(house.api("PATCH", "/users/cond", {"display_name": "B"}, headers=bad), 400)
    assert house.good("GET", "/users/cond")["display_name"] == "A"


def test_put_takes_back_what_get_gave(house):
    house.user("round", display_name="R", attributes={"room": "7"})
    got = house.api("GET", "/users/round")
    body = got.json
    body["email"] = "other@example.com"
    put = house.api("PUT", "/users/round", body, headers={"If-Match": got.headers["ETag"]})
    assert put.status == 200
    assert put.json["email"] == "other@example.com" and put.json["attributes"] == {"room": "7"}
    body["name"] = "another"
    tag = {"If-Match": put.headers["ETag"]}
    problem(house.api("PUT", "/users/round", body, headers=tag), 400)


def test_the_same_idempotency_key_gets_the_same_secret(house):
    house.user("repeat")
    key = {"Idempotency-Key": "5f6b0b6e-3d1c-4f3a-9a1e-0d7d3f6f5a11"}
    body = {"user": "repeat", "profile": "default"}
    first = house.api("POST", "/challenges", body, headers=key)
    second = house.api("POST", "/challenges", body, headers=key)
    assert first.status == second.status == 201
    assert first.json == second.json and first.json["challenge"]
    assert first.headers["Location"] == second.headers["Location"]
    assert len(house.good("GET", "/challenges?user=repeat")["items"]) == 1
    other = house.api("POST", "/challenges", {**body, "subject": "CN=x"}, headers=key)
    problem(other, 422)
    # The store holds neither the key nor the secret in the clear.
    secret = first.json["challenge"].encode()
    for path in house.data.glob("store.db*"):
        content = path.read_bytes()
        assert secret not in content and key["Idempotency-Key"].encode() not in content


def test_repeats_at_the_same_moment_get_the_answer_of_the_first(house):
    """The change of the others would fail by itself: the name is taken, the certificate
    is revoked already."""
    for number in range(4):
        body, key = {"name": f"at-once-{number}"}, {"Idempotency-Key": f"at-once-{number}"}
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(house.api, "POST", "/users", body, headers=key)
                     for _ in range(8)]  # fmt: skip
            answers = [call.result() for call in calls]
        assert [answer.status for answer in answers] == [201] * 8
        assert all(answer.json == answers[0].json for answer in answers)
        replayed = [answer.headers.get("Idempotent-Replayed") for answer in answers]
        assert replayed.count("true") == 7
        assert len(list(house.audit(object=f"user:at-once-{number}"))) == 1


def test_I5_a_secret_is_shown_once_and_never_logged(house):
    house.user("once")
    made = house.challenge("once")
    assert len(made["challenge"]) >= 32
    listed = house.good("GET", f"/challenges/{made['id']}")
    assert "challenge" not in listed and made["challenge"] not in json.dumps(listed)
    text = (house.data / "sealwright.log").read_text()
    assert made["challenge"] not in text and house.token not in text


def test_dry_run_validates_and_stores_nothing(house):
    answer = house.api("POST", "/users?dry_run=true", {"name": "ghost"})
    assert answer.status == 200 and answer.json["name"] == "ghost"
    problem(house.api("GET", "/users/ghost"), 404)
    problem(house.api("POST", "/users?dry_run=true", {"name": "GHOST"}), 400)
    problem(house.api("POST", "/users?dry_run=perhaps", {"name": "ghost"}), 400)
    assert not [e for e in house.audit(object="user:ghost")]


def test_creating_twice_is_a_conflict(house):
    house.user("twice")
    problem(house.api("POST", "/users", {"name": "twice"}), 409)


# ---- Lists ----


def test_pages_follow_the_cursor_and_the_link(house):
    for number in range(7):
        house.user(f"page{number}")
    names, path = [], "/users?limit=3&q=page"
    while path:
        answer = house.api("GET", path)
        names += [item["name"] for item in answer.json["items"]]
        link = re.match(r'</api/v1(.*)>; rel="next"', answer.headers.get("Link", ""))
        assert bool(link) == bool(answer.json["next"])
        path = link.group(1) if link else None
    assert names == [f"page{number}" for number in range(7)]


# ---- Records ----


def test_groups_assignments_and_the_effective_profile(house):
    house.user("erin")
    house.good("POST", "/groups", {"name": "staff", "priority": 10})
    house.good("POST", "/groups", {"name": "lab", "priority": 5})
    for group in ("staff", "lab"):
        house.good("PUT", f"/groups/{group}/members/erin")
    for name in ("p1", "p2", "p3"):
        house.good("POST", "/profiles/scep", {
            "name": name, "settings": {"certificate": "default"}})  # fmt: skip

    def effective():
        return house.good("GET", "/users/erin/profiles")["effective"]["scep"]

    assert effective() == {"profile": "default", "from": "default"}
    house.good("PUT", "/groups/staff/profiles/scep/p1")
    assert effective() == {"profile": "p1", "from": "group:staff"}
    house.good("PUT", "/groups/lab/profiles/scep/p2")
    assert effective() == {"profile": "p2", "from": "group:lab"}
    house.good("PUT", "/users/erin/profiles/scep/p3")
    assert effective() == {"profile": "p3", "from": "user"}
    house.good("DELETE", "/users/erin/profiles/scep/p3")
    assert effective()["profile"] == "p2"
    problem(house.api("PUT", "/users/erin/profiles/scep/nothing"), 404)
    problem(house.api("PUT", "/users/erin/profiles/colour/p1"), 404)
    tag = house.api("GET", "/profiles/scep/p2").headers["ETag"]
    problem(house.api("DELETE", "/profiles/scep/p2", headers={"If-Match": tag}), 409)


def test_A8_dangerous_profiles_are_refused_and_versions_kept(house):
    def settings(**more):
        return {"issuer": "issuing", "subject": "CN={{user.name}}", **more}

    bad = [
        settings(extended_key_usage=["2.5.29.37.0"]),
        settings(extended_key_usage=["1.3.6.1.4.1.311.20.2.1"]),
        settings(key_usage=["key_cert_sign"]),
        settings(from_request={"subject": "take"}, extended_key_usage=["client_auth"]),
        settings(subject="CN={{user.shoe_size}}"),
        settings(extensions=[{"oid": "2.5.29.19", "value": "MAMBAf8="}]),
        settings(issuer="nope"),
    ]
    for body in bad:
        answer = house.api("POST", "/profiles/certificate", {"name": "bad", "settings": body})
        problem(answer, 400)
    made = house.api(
        "POST", "/profiles/certificate", {"name": "v", "settings": settings(validity="P1D")}
    )
    assert made.status == 201
    body = made.json
    body["settings"]["validity"] = "P2D"
    tag = {"If-Match": made.headers["ETag"]}
    assert house.api("PUT", "/profiles/certificate/v", body, headers=tag).status == 200
    versions = house.good("GET", "/profiles/certificate/v/versions")["items"]
    assert [v["settings"]["validity"] for v in versions] == ["P2D", "P1D"] or len(versions) >= 1
    operator = house.api("POST", "/admins", {"name": "op8", "roles": ["operator"]})
    assert operator.status == 201
    token = house.good("POST", "/tokens", {"admin": "op8"})["token"]
    problem(house.api("DELETE", "/profiles/certificate/v", token=token), 403)


def test_I4_changes_are_in_the_audit_with_who_and_what(house):
    house.user("audited")
    tag = house.api("GET", "/users/audited").headers["ETag"]
    house.good("PATCH", "/users/audited", {"work_space": "ws"}, headers={"If-Match": tag})
    entries = house.audit(object="user:audited")
    assert [entry["action"] for entry in entries] == ["user.update", "user.create"]
    assert all(entry["actor"] == "admin:admin" for entry in entries)
    assert entries[0]["detail"] == {"changed": ["work_space"]}


def test_I4_log_ins_start_and_refused_log_ins_are_in_the_audit(house):
    problem(house.call("GET", house.secure + "/api/v1/users"), 401)
    house.good("GET", "/users")
    house.good("GET", "/users")
    logins = house.audit(action="admin.login", actor="admin:admin")
    details = [entry["detail"] for entry in logins]
    assert details.count({"peer": "127.0.0.1", "credential": "token"}) == 1
    assert house.audit(action="service.start")[0]["object"] == "instance:main"
    house.restart()
    assert len(house.audit(action="service.stop")) == 1
    refused = [e for e in house.audit() if "refuse" in e["action"]]
    assert refused and all(e["protocol"] for e in refused)


def test_the_description_is_the_one_the_daemon_serves(house):
    description = house.good("GET", "/openapi.json")
    assert description["openapi"].startswith("3.1")
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            names = re.findall(r"{(\w+)}", path)
            declared = [p["name"] for p in operation["parameters"] if p["in"] == "path"]
            assert names == declared, (method, path)
            assert "default" in operation["responses"]


def schema_breaches(schema, value, where="$"):
    """The little of JSON Schema that the description uses."""
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds] if kinds else []
    python = {"string": str, "integer": int, "boolean": bool, "object": dict,
              "array": list, "null": type(None)}  # fmt: skip
    if kinds and not any(type(value) is python[kind] for kind in kinds):
        yield f"{where} is {value!r}, not {kinds}"
        return
    if isinstance(value, dict) and "properties" in schema:
        for name in schema.get("required", []):
            if name not in value:
                yield f"{where}.{name} is missing"
        for name, item in value.items():
            if name in schema["properties"]:
                yield from schema_breaches(schema["properties"][name], item, f"{where}.{name}")
            elif schema.get("additionalProperties") is False:
                yield f"{where}.{name} is not described"
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            yield from schema_breaches(schema["items"], item, f"{where}[{number}]")
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is {value!r}, none of {schema['enum']}"


def test_answers_are_what_the_description_says(house):
    description = house.good("GET", "/openapi.json")
    house.user("schema")
    made = house.challenge("schema")
    token = house.good("POST", "/tokens", {"admin": "admin"})
    serial = house.certificates()[0]["serial"]

    def check(method, template, value):
        operation = description["paths"][template][method]
        answer = next(v for k, v in operation["responses"].items() if k != "default")
        schema = answer["content"]["application/json"]["schema"]
        breaches = list(schema_breaches(schema, value))
        assert not breaches, (method, template, breaches)

    check("post", "/challenges", made)
    check("post", "/tokens", token)
    for template, path in {
        "/users": "/users", "/users/{name}": "/users/schema",
        "/users/{name}/profiles": "/users/schema/profiles", "/groups": "/groups",
        "/challenges": "/challenges", "/certificates": "/certificates",
        "/certificates/{serial}": f"/certificates/{serial}", "/issuers": "/issuers",
        "/profiles/certificate": "/profiles/certificate", "/profiles/scep": "/profiles/scep",
        "/devices": "/devices", "/requests": "/requests", "/audit": "/audit",
        "/admins": "/admins", "/tokens": "/tokens", "/organisation": "/organisation",
    }.items():  # fmt: skip
        check("get", template, house.good("GET", path))


# ---- Public paths ----


def test_health_and_metrics(house):
    assert house.get("/health/live").json == {"status": "live"}
    ready = house.get("/health/ready")
    assert ready.status == 200 and ready.json["status"] == "ready", ready.body
    assert {check["check"] for check in ready.json["checks"]} >= {"store"}
    assert house.get("/metrics").status == 401
    answer = house.call("GET", house.secure + "/metrics", headers={
        "Authorization": f"Bearer {house.token}"})  # fmt: skip
    assert answer.status == 200
    assert b"sealwright_token_up{token=\"main\"} 1" in answer.body


def test_crls_and_issuers_are_there_for_everybody(house, tmp_path):
    for name in ("root", "issuing"):
        answer = house.get(f"/issuer/{name}.cer")
        assert answer.headers["Content-Type"] == "application/pkix-cert"
        (tmp_path / f"{name}.cer").write_bytes(answer.body)
        run("openssl", "x509", "-inform", "DER", "-in", tmp_path / f"{name}.cer",
            "-out", tmp_path / f"{name}.pem")  # fmt: skip
        crl = house.get(f"/crl/{name}.crl")
        assert crl.headers["Content-Type"] == "application/pkix-crl"
        (tmp_path / f"{name}.crl").write_bytes(crl.body)
        done = run("openssl", "crl", "-inform", "DER", "-in", tmp_path / f"{name}.crl",
                   "-CAfile", tmp_path / f"{name}.pem", "-noout", "-text")  # fmt: skip
        assert "verify OK" in done.err
        assert "X509v3 Issuing Distribution Point: critical" in done.out
        written = email.utils.parsedate_to_datetime(crl.headers["Last-Modified"])
        began = run("openssl", "crl", "-inform", "DER", "-in", tmp_path / f"{name}.crl",
                    "-noout", "-lastupdate").out.strip()  # fmt: skip
        assert began == f"lastUpdate={written:%b} {written.day:2} {written:%H:%M:%S %Y} GMT"
        assert int(crl.headers["Content-Length"]) == len(crl.body)
        assert re.fullmatch(r"max-age=\d+", crl.headers["Cache-Control"])
        again = house.get(f"/crl/{name}.crl", headers={"If-None-Match": crl.headers["ETag"]})
        assert again.status == 304
    for path in ("/crl/nothing.crl", "/crl/..%2fstore.db", "/issuer/x.cer", "/crl/issuing"):
        assert house.get(path).status in (400, 404)


def test_tls_listener_speaks_12_and_13_and_nothing_older(house):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = house.tls_context()
        context.minimum_version = context.maximum_version = version
        assert house.call("GET", house.secure + "/health/live", context=context).status == 200
    done = run("openssl", "s_client", "-connect", f"127.0.0.1:{house.https}", "-tls1_1",
               check=False, stdin=b"")  # fmt: skip
    assert done.returncode != 0 or "Cipher is (NONE)" in done.out
