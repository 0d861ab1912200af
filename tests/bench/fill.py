"""Fills a store with copies of the enrolments it has: as many rows a device in as many
tables as the daemon itself wrote, each with keys of its own."""

import hashlib
import json
import random
import sqlite3
import uuid

SEEDS = 32  # real enrolments to copy


class Copy:
    """What one copy's identifiers are called instead."""

    def __init__(self, rng, certificate, number):
        self.serial = f"{rng.getrandbits(127) | 1 << 126:032x}"
        self.device = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        self.challenge = f"{rng.getrandbits(64):016x}"
        self.spki = rng.randbytes(32)
        self.user = f"filled{number % 1000}"
        self.names = {
            certificate["serial"]: self.serial,
            certificate["device_id"]: self.device,
            certificate["challenge"]: self.challenge,
            certificate["spki_sha256"]: self.spki.hex(),
        }

    def rename(self, text):
        for old, new in self.names.items():
            text = text.replace(old, new)
        return text


def rows(db, sql, *values):
    return [dict(row) for row in db.execute(sql, values)]


def insert(db, table, row):
    names = ", ".join(row)
    marks = ", ".join("?" * len(row))
    db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))


class Seed:
    """One real enrolment: its row in every table."""

    def __init__(self, db, certificate):
        self.certificate = certificate
        self.device = rows(
            db, "SELECT * FROM device WHERE id = ?", certificate["device_id"]
        )[0]
        self.key = rows(
            db, "SELECT * FROM device_key WHERE device_id = ?", certificate["device_id"]
        )[0]
        self.challenge = rows(
            db, "SELECT * FROM challenge WHERE id = ?", certificate["challenge"]
        )[0]
        self.audit = rows(
            db,
            "SELECT * FROM audit_entry WHERE object IN (?, ?) ORDER BY number",
            f"certificate:{certificate['serial']}",
            f"challenge:{certificate['challenge']}",
        )
        assert len(self.audit) >= 3, "an enrolment leaves three audit entries"


def der_copy(rng, der):
    """A certificate of the same size that compresses as badly."""
    return der[:-64] + rng.randbytes(64)


def copy_records(db, rng, seed, copy):
    insert(
        db,
        "certificate",
        seed.certificate
        | {
            "serial": copy.serial,
            "subject": f"CN=filled-{copy.serial[:8]}",
            "san": copy.rename(seed.certificate["san"]),
            "user_name": copy.user,
            "device_id": copy.device,
            "spki_sha256": copy.spki.hex(),
            "challenge": copy.challenge,
            "transaction_key": rng.randbytes(32),
            "request_sha256": rng.randbytes(32),
            "der": der_copy(rng, seed.certificate["der"]),
        },
    )
    insert(db, "device", seed.device | {"id": copy.device, "owner": copy.user})
    insert(
        db,
        "device_key",
        seed.key | {"spki_sha256": copy.spki, "device_id": copy.device},
    )
    insert(
        db,
        "challenge",
        seed.challenge
        | {
            "id": copy.challenge,
            "secret_sha256": rng.randbytes(32),
            "user_name": copy.user,
            "serial": copy.serial,
        },
    )


def copy_audit(db, seed, copy, number):
    """The copy's leaves behind the log's last one; the next number."""
    for row in seed.audit:
        entry = json.loads(copy.rename(row["entry"])) | {"number": number}
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"))
        insert(
            db,
            "audit_entry",
            row
            | {
                "number": number,
                "object": copy.rename(row["object"]),
                "entry": text,
                "leaf": hashlib.sha256(b"\0" + text.encode()).digest(),
            },
        )
        number += 1
    return number


def fill(path, certificates):
    """Until the store at `path` has that many certificates. The daemon is down."""
    rng = random.Random(certificates)
    db = sqlite3.connect(path)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA synchronous = OFF")
    seeds = [
        Seed(db, certificate)
        for certificate in rows(
            db,
            "SELECT * FROM certificate WHERE protocol = 'scep' AND state = 1 LIMIT ?",
            SEEDS,
        )
    ]
    assert len(seeds) == SEEDS, "there are too few enrolments to copy"
    have = db.execute("SELECT COUNT(*) FROM certificate").fetchone()[0]
    user = rows(db, "SELECT * FROM users LIMIT 1")[0]
    for i in range(1000):
        insert(db, "users", user | {"name": f"filled{i}"})
    log = rows(db, "SELECT * FROM audit_log")[0]
    number = log["size"]
    for i in range(certificates - have):
        seed = seeds[i % SEEDS]
        copy = Copy(rng, seed.certificate, i)
        copy_records(db, rng, seed, copy)
        number = copy_audit(db, seed, copy, number)
    db.execute(
        "UPDATE audit_log SET size = ? WHERE instance = ?", (number, log["instance"])
    )
    db.commit()
    # As a running daemon leaves it: planned without ANALYZE, the WAL caught up.
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
