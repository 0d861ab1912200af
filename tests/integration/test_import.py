"""Users out of a CSV file: each line is told, and all are taken or none."""

import json


GOOD = (
    "name,email,display_name,groups,attributes.cost_centre\r\n"
    "anna,anna@example.com,\"Doe, Anna\",staff;tablets,4711\r\n"
    "ben,ben@example.com,\"Ben \"\"B\"\" Doe\",,\r\n"
)
BAD = (
    "name,email,groups\n"
    "cleo,cleo@example.com,\n"
    "Not A Name,x@example.com,\n"
    "dora,no mailbox,\n"
    "emil,emil@example.com,nowhere\n"
    "cleo,again@example.com,\n"
    "finn,finn@example.com\n"
)


def load(house, text, dry_run=False):
    return house.api("POST", "/users/import" + ("?dry_run=true" if dry_run else ""),
                     {"csv": text})  # fmt: skip


def names(house):
    return {one["name"] for one in house.good("GET", "/users")["items"]}


def test_users_and_their_groups_come_and_come_again(house):
    for name in ("staff", "tablets"):
        house.good("POST", "/groups", {"name": name})
    told = load(house, GOOD, dry_run=True).json
    assert told["dry_run"] and told["counts"]["created"] == 2
    assert names(house) == set()
    told = load(house, GOOD).json
    assert [(i["line"], i["name"], i["result"]) for i in told["items"]] == [
        (2, "anna", "created"), (3, "ben", "created")]  # fmt: skip
    anna = house.good("GET", "/users/anna")
    assert anna["display_name"] == "Doe, Anna" and anna["groups"] == ["staff", "tablets"]
    assert anna["attributes"] == {"cost_centre": "4711"} and anna["source"] == "local"
    assert house.good("GET", "/users/ben")["display_name"] == 'Ben "B" Doe'
    told = load(house, GOOD).json
    assert told["counts"] == {"created": 0, "changed": 0, "unchanged": 2, "refused": 0}
    told = load(house, "name,email\nanna,a.doe@example.com\nben,\n").json
    assert told["counts"]["changed"] == 2
    assert house.good("GET", "/users/anna")["email"] == "a.doe@example.com"
    assert house.good("GET", "/users/anna")["display_name"] == "Doe, Anna"
    assert house.good("GET", "/users/ben")["email"] is None
    assert len(house.audit(action="user.create")) == 2
    assert len(house.audit(action="user.update")) == 2
    joined = house.audit(action="group.add_member")
    assert {(e["object"], e["detail"]["user"]) for e in joined} == {
        ("group:staff", "anna"), ("group:tablets", "anna")}  # fmt: skip


def test_one_bad_line_keeps_all_out_and_a_dry_run_tells_of_each(house):
    before = names(house)
    told = load(house, BAD, dry_run=True).json
    assert [i["result"] for i in told["items"]] == ["created"] + ["refused"] * 5
    reasons = [i["reason"] for i in told["items"]]
    assert reasons[1].startswith("name:") and reasons[2].startswith("email:")
    assert "no group 'nowhere'" in reasons[3] and "same name" in reasons[4]
    assert "2 fields" in reasons[5]
    answer = load(house, BAD)
    assert answer.status == 400 and "5 of 6 lines" in answer.json["detail"]
    assert [e["pointer"] for e in answer.json["errors"]] == [
        "/csv/3", "/csv/4", "/csv/5", "/csv/6", "/csv/7"]  # fmt: skip
    assert names(house) == before


def test_files_that_are_no_such_file_are_refused(house):
    before = names(house)
    for text, words in (
        ("email\nx@example.com\n", "no column 'name'"),
        ("name,state\nx,disabled\n", "none of ours"),
        ("name,name\nx,y\n", "twice"),
        ("name\n\"x\n", "not closed"),
        ("\n\n", "empty"),
    ):
        answer = load(house, text)
        assert answer.status == 400 and words in answer.json["detail"], answer.body
    many = "name\n" + "".join(f"many{i}\n" for i in range(5001))
    assert load(house, many).status == 413
    assert names(house) == before


def test_a_group_is_named_whole(house):
    house.good("POST", "/groups", {"name": "north"})
    answer = load(house, "name,groups\ngita, north wing \n")
    assert answer.status == 400 and "north wing" in answer.json["errors"][0]["detail"]
    assert load(house, "name,groups\ngita, north ;\n").status == 200
    assert house.good("GET", "/users/gita")["groups"] == ["north"]


def test_the_command_imports_a_file(house, tmp_path):
    file = tmp_path / "users.csv"
    file.write_text("name,email\ngina,gina@example.com\n")
    text = house.cli("user", "import", file, "--dry-run").out
    assert "gina" in text and "created" in text and "nothing was changed" in text
    told = json.loads(house.cli("user", "import", file, "--json").out)
    assert told["counts"]["created"] == 1 and "gina" in names(house)
    file.write_bytes(b"name\n\xff\xfe\n")
    assert house.cli("user", "import", file, check=False).returncode != 0


def test_a_large_file_is_answered_and_answered_again(house):
    text = "name,email\n" + "".join(f"big{i},big{i}@example.com\n" for i in range(5000))
    key = {"Idempotency-Key": "large"}
    answer = house.api("POST", "/users/import", {"csv": text}, headers=key)
    assert answer.status == 200 and answer.json["counts"]["created"] == 5000, answer.body[:500]
    again = house.api("POST", "/users/import", {"csv": text}, headers=key)
    assert again.headers["Idempotent-Replayed"] == "true" and again.body == answer.body
