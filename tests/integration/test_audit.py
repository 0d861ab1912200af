"""Every change of the admin API leaves its entry: who, what, and on which record."""

import signal
import time

import pytest
from scep import Fleet, serial_of

# Calls that want a mail server, a directory, a latched token, a managed device or a second
# instance: the tests of those make them.
ELSEWHERE = {
    "POST /users/import", "POST /users/{name}/invitation", "DELETE /users/{name}/invitation",
    "POST /mail/test", "POST /mail/{id}/retry", "DELETE /mail/{id}",
    "POST /instance/tokens/{name}/unlock", "POST /directory/sync", "DELETE /instances/{name}",
    "POST /devices/{id}/commands", "DELETE /devices/{id}/commands/{command}",
}  # fmt: skip
CHANGES_NOTHING = {"POST /mail-templates/{name}/preview"}
CONFIG = {"limits": {"requests_per_second": 0}}


@pytest.fixture(scope="module")
def fleet(house):
    house.user("owner")
    made = Fleet(house)
    yield made
    made.close()


class Changes:
    """Calls, and the one entry that each must leave."""

    def __init__(self, house):
        self.house = house
        self.seen = set()

    def newest(self):
        items = self.house.good("GET", "/audit?limit=1")["items"]
        return items[0]["number"]

    def make(self, template, action, wanted, body=None, dry=True, detail=None, **names):
        method, path = template.split(" ")
        for name, value in names.items():
            path = path.replace("{%s}" % name, value)
        assert "{" not in path, path
        headers = {}
        if method != "POST":
            read = self.house.api("GET", path)
            headers = {"If-Match": read.headers["ETag"]} if "ETag" in read.headers else {}
        before = self.newest()
        if dry:
            self.house.good(method, path + "?dry_run=true", body, headers=headers)
            assert self.newest() == before, f"{template}: a dry run is no change"
        made = self.house.good(method, path, body, headers=headers)
        entries = [entry for entry in self.house.good("GET", "/audit?limit=20")["items"]
                   if entry["number"] > before and entry["action"] == action]  # fmt: skip
        assert len(entries) == 1, (template, action, entries)
        entry = entries[0]
        wanted = wanted or f"{action.split('.')[0]}:{made['id']}"
        told = (entry["object"], entry["actor"], entry["protocol"], entry["outcome"])
        assert told == (wanted, "admin:admin", "api", "ok"), (template, entry)
        assert entry["request"] and entry["count"] == 1
        for name, value in (detail or {}).items():
            assert entry["detail"][name] == value, (template, entry)
        self.seen.add(template)
        return made


def test_I4_every_change_of_the_api_leaves_one_entry(house, fleet):
    change = Changes(house)
    make = change.make
    make("PATCH /issuers/{name}", "issuer.update", "issuer:issuing",
         {"crl": {"lifetime_seconds": 259200}}, name="issuing")  # fmt: skip
    organisation = house.good("GET", "/organisation")
    kept = {name: organisation[name] for name in ("name", "base_url", "plain_url")}
    make("PUT /organisation", "organisation.update", "organisation",
         {**kept, "mail_domains": ["example.org"]})  # fmt: skip

    make("POST /users", "user.create", "user:ann", {"name": "ann"})
    make("PUT /users/{name}", "user.update", "user:ann", {"name": "ann", "work_space": "w"},
         name="ann", detail={"changed": ["work_space"]})  # fmt: skip
    make("PATCH /users/{name}", "user.update", "user:ann", {"display_name": "Ann"}, name="ann",
         detail={"changed": ["display_name"]})  # fmt: skip
    make("PUT /users/{name}/password", "user.password", "user:ann",
         {"password": "right horse 17 battery"}, name="ann")  # fmt: skip
    make("DELETE /users/{name}/password", "user.password_remove", "user:ann", name="ann")

    make("POST /groups", "group.create", "group:g", {"name": "g"})
    make("PUT /groups/{name}", "group.update", "group:g", {"name": "g", "priority": 5}, name="g")
    make("PATCH /groups/{name}", "group.update", "group:g", {"priority": 7}, name="g")
    make("PUT /groups/{name}/members/{user}", "group.add_member", "group:g", name="g",
         user="ann", detail={"user": "ann"})  # fmt: skip
    make("DELETE /groups/{name}/members/{user}", "group.remove_member", "group:g", name="g",
         user="ann", detail={"user": "ann"})  # fmt: skip

    for kind in ("certificate", "scep", "policy", "activation"):
        settings = {"items": []}
        if kind != "policy":
            settings = house.good("GET", f"/profiles/{kind}/default")["settings"]
        path, noun = f"/profiles/{kind}", f"profile:{kind}/p"
        make(f"POST {path}", "profile.create", noun, {"name": "p", "settings": settings})
        make(f"PUT {path}/{{name}}", "profile.update", noun,
             {"name": "p", "description": "a", "settings": settings}, name="p")  # fmt: skip
        make(f"PATCH {path}/{{name}}", "profile.update", noun, {"description": "b"}, name="p",
             detail={"changed": ["description"]})  # fmt: skip

    for whose, target in (("users", "ann"), ("groups", "g")):
        for method, action in (("PUT", "profile.assign"), ("DELETE", "profile.unassign")):
            make(f"{method} /{whose}/{{name}}/profiles/{{kind}}/{{profile}}", action,
                 f"{whose[:-1]}:{target}", name=target, kind="scep", profile="p",
                 detail={"kind": "scep", "profile": "p"})  # fmt: skip

    made = make("POST /challenges", "challenge.create", None,
                {"user": "ann", "profile": "default"}, detail={"user": "ann"})  # fmt: skip
    assert made["challenge"] not in str(house.audit(action="challenge.create"))
    make("DELETE /challenges/{id}", "challenge.withdraw", f"challenge:{made['id']}", id=made["id"])

    made = make("POST /devices", "device.create", None, {"owner": "ann", "kind": "router"})
    make("PATCH /devices/{id}", "device.update", f"device:{made['id']}", {"state": "disabled"},
         id=made["id"], detail={"changed": ["state"]})  # fmt: skip
    make("DELETE /devices/{id}", "device.delete", f"device:{made['id']}", id=made["id"])

    made = make("POST /activations", "activation.create", None, {"user": "owner"})
    assert made["password"] not in str(house.audit(action="activation.create"))
    make("DELETE /activations/{id}", "activation.withdraw", f"activation:{made['id']}",
         id=made["id"], detail={"user": "owner"})  # fmt: skip
    mail = "mail_template:activation"
    make("PATCH /mail-templates/{name}", "mail_template.update", mail, {"subject": "Yours"},
         name="activation")
    texts = {name: house.good("GET", "/mail-templates/activation")[name]
             for name in ("text", "html")}  # fmt: skip
    make("PUT /mail-templates/{name}", "mail_template.update", mail,
         {**texts, "subject": "Theirs"}, name="activation")  # fmt: skip
    make("POST /mail-templates/{name}/reset", "mail_template.reset", mail, name="activation")

    make("POST /admins", "admin.create", "admin:two", {"name": "two", "roles": ["auditor"]})
    make("PUT /admins/{name}", "admin.update", "admin:two",
         {"name": "two", "roles": ["approver"]}, name="two", detail={"changed": ["roles"]})  # fmt: skip
    make("PATCH /admins/{name}", "admin.update", "admin:two", {"disabled": True}, name="two")
    made = make("POST /tokens", "token.create", None, {"admin": "admin"},
                detail={"admin": "admin"})  # fmt: skip
    assert made["token"] not in str(house.audit(action="token.create"))
    make("DELETE /tokens/{id}", "token.delete", f"token:{made['id']}", id=made["id"])
    make("DELETE /admins/{name}", "admin.delete", "admin:two", name="two")

    for kind in ("activation", "scep", "policy", "certificate"):
        make(f"DELETE /profiles/{kind}/{{name}}", "profile.delete", f"profile:{kind}/p", name="p")
    make("DELETE /groups/{name}", "group.delete", "group:g", name="g")
    make("DELETE /users/{name}", "user.delete", "user:ann", name="ann")

    issued = fleet.post(fleet.fresh(house.challenge("owner", subject="CN=dev")["challenge"]))
    serial = serial_of(issued.certificate)
    make("POST /certificates/{serial}/revoke", "certificate.revoke", f"certificate:{serial}",
         {"reason": "superseded"}, serial=serial)  # fmt: skip
    decide(house, fleet, make)
    changes = {
        f"{method.upper()} {path}"
        for path, operations in house.good("GET", "/openapi.json")["paths"].items()
        for method in operations if method != "get"
    }  # fmt: skip
    assert changes - change.seen == ELSEWHERE | CHANGES_NOTHING


def decide(house, fleet, make):
    """Two requests that wait: one is approved, one refused."""
    settings = house.good("GET", "/profiles/certificate/default")["settings"]
    house.good("POST", "/profiles/certificate",
               {"name": "waits", "settings": {**settings, "approvals": 1}})  # fmt: skip
    house.good("POST", "/profiles/scep", {"name": "waits", "settings": {"certificate": "waits"}})
    house.good("PUT", "/users/owner/profiles/scep/waits")
    house.good("POST", "/admins", {"name": "maker", "roles": ["operator"]})
    maker = house.good("POST", "/tokens", {"admin": "maker"})["token"]
    waiting = Fleet(house, "waits")
    for _ in range(2):
        made = house.good("POST", "/challenges", {"user": "owner", "profile": "waits", "subject": "CN=dev"},
                          token=maker)  # fmt: skip
        assert waiting.post(waiting.fresh(made["challenge"])).word == "pending"
    waiting.close()
    created = house.audit(action="request.create")
    assert len(created) == 2 and created[0]["outcome"] == "pending"
    first, second = [entry["object"].removeprefix("request:") for entry in created]
    make("POST /requests/{id}/approve", "request.approve", f"request:{first}", id=first)
    make("POST /requests/{id}/refuse", "request.refuse", f"request:{second}",
         {"reason": "unknown"}, id=second, detail={"reason": "unknown"})  # fmt: skip
    assert house.good("GET", f"/requests/{first}")["state"] == "issued"
    house.good("DELETE", "/users/owner/profiles/scep/waits")


def test_I4_what_made_the_house_is_in_its_audit(house):
    """By the command, before anybody could call the API."""
    def objects(action):
        return sorted(entry["object"] for entry in house.audit(action=action)
                      if entry["actor"] == "system")  # fmt: skip

    assert objects("organisation.create") == ["organisation"]
    assert objects("issuer.create") == ["issuer:issuing", "issuer:root"]
    assert len(objects("helper.create")) >= 4
    assert "profile:certificate/default" in objects("profile.create")
    assert "profile:scep/default" in objects("profile.create")
    assert objects("admin.create") == ["admin:admin"]


def wait_for(find):
    end = time.monotonic() + 20
    while not find() and time.monotonic() < end:
        time.sleep(0.1)
    return find()


def test_I4_new_crls_and_a_read_configuration_are_in_the_audit(house, fleet):
    before = len(house.audit(action="crl.issue", object="issuer:issuing"))
    issued = fleet.post(fleet.fresh(house.challenge("owner", subject="CN=dev")["challenge"]))
    house.good("POST", f"/certificates/{serial_of(issued.certificate)}/revoke", {})
    entries = wait_for(lambda: house.audit(action="crl.issue", object="issuer:issuing")[
        : -before or None])  # fmt: skip
    assert entries and entries[0]["actor"] == "system" and entries[0]["outcome"] == "ok"
    house.process.send_signal(signal.SIGHUP)
    assert wait_for(lambda: house.audit(action="service.reload"))
