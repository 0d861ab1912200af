"""A real slapd on free ports with a data folder, a CA and people of its own."""

import datetime
import ipaddress
import os
import shutil
import signal
import subprocess
import time

from conftest import free_ports, run
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BASE = "dc=example,dc=com"
READER = f"cn=sealwright,{BASE}"
READER_SECRET = "reader secret"
ADMIN = f"cn=admin,{BASE}"
ADMIN_SECRET = "admin secret"
PAGE = 3  # the most that the reader gets at once

CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
TLSCACertificateFile {folder}/ca.pem
TLSCertificateFile {folder}/server.pem
TLSCertificateKeyFile {folder}/server.key
{security}
database mdb
suffix "{base}"
rootdn "{admin}"
rootpw "{admin_secret}"
directory {folder}/db
maxsize 16777216
limits dn.exact="{reader}" size.soft={page} size.hard={page} size.pr={page} size.prtotal={total}
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{reader}" read by * none
overlay memberof
"""


def certificate(folder, name, issuer=None, hosts=()):
    """A certificate and key, of its own CA unless `issuer`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(issuer is None, None), True)
    )
    if hosts:
        names = []
        for host in hosts:
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(host)))
            except ValueError:
                names.append(x509.DNSName(host))
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    made = builder.sign(issuer[1] if issuer else key, hashes.SHA256())
    file = "ca" if issuer is None else "server"
    (folder / f"{file}.pem").write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
    )
    (folder / f"{file}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made, key


class Slapd:
    def __init__(self, folder, hosts=("127.0.0.1",), total="unlimited"):
        self.folder = folder
        self.process = None
        self.plain, self.tls = free_ports(2)
        (folder / "db").mkdir(parents=True)
        issuer = certificate(folder, "Directory CA")
        certificate(folder, "directory", issuer, hosts)
        self.configure(total=total)
        (folder / "reader.secret").write_text(READER_SECRET)
        (folder / "reader.secret").chmod(0o600)

    def configure(self, total="unlimited", security="security simple_bind=128"):
        """Passwords in the clear are refused; the tests must come with TLS."""
        (self.folder / "slapd.conf").write_text(
            CONFIG.format(
                folder=self.folder, base=BASE, admin=ADMIN, admin_secret=ADMIN_SECRET,
                reader=READER, page=PAGE, total=total, security=security,
            )  # fmt: skip
        )

    def start(self):
        self.log = open(self.folder / "slapd.log", "ab")
        self.process = subprocess.Popen(
            ["/usr/sbin/slapd", "-d", "0", "-f", self.folder / "slapd.conf", "-h",
             f"ldap://127.0.0.1:{self.plain} ldap://127.0.0.2:{self.plain} ldaps://127.0.0.1:{self.tls}"],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + 20
        while time.monotonic() < end:
            assert self.process.poll() is None, (self.folder / "slapd.log").read_text()
            done = self.tool("ldapsearch", "-b", "", "-s", "base", check=False)
            if done.returncode == 0:
                return self
            time.sleep(0.1)
        raise AssertionError("slapd does not answer")

    def stop(self):
        if not self.process:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.log.close()

    def end(self):
        self.stop()
        if os.environ.get("SEALWRIGHT_KEEP") != "yes":
            shutil.rmtree(self.folder, ignore_errors=True)

    def tool(self, name, *words, stdin=None, check=True):
        return run(
            name, "-x", "-H", f"ldaps://127.0.0.1:{self.tls}", "-D", ADMIN, "-w",
            ADMIN_SECRET, *words, check=check, stdin=stdin,
            env={"LDAPTLS_CACERT": str(self.folder / "ca.pem"), "LDAPTLS_REQCERT": "demand"},
        )  # fmt: skip

    def add(self, ldif):
        self.tool("ldapadd", stdin=ldif.encode())

    def modify(self, ldif):
        self.tool("ldapmodify", stdin=ldif.encode())

    def delete(self, dn):
        self.tool("ldapdelete", dn)

    def fill(self):
        self.add(f"""dn: {BASE}
objectClass: dcObject
objectClass: organization
dc: example
o: Example Corp

dn: {READER}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: sealwright
userPassword: {READER_SECRET}

dn: ou=people,{BASE}
objectClass: organizationalUnit
ou: people

dn: ou=groups,{BASE}
objectClass: organizationalUnit
ou: groups
""")

    def person(self, name, password="right horse 17", **members):
        lines = [
            f"dn: uid={name},ou=people,{BASE}",
            "objectClass: inetOrgPerson",
            f"uid: {name}",
            f"cn: {members.pop('cn', name.capitalize() + ' Doe')}",
            "sn: Doe",
            f"mail: {members.pop('mail', name + '@example.com')}",
            f"userPassword: {password}",
        ]
        lines += [f"{attribute}: {value}" for attribute, value in members.items()]
        self.add("\n".join(lines) + "\n")

    def group(self, name, *users):
        lines = [f"dn: cn={name},ou=groups,{BASE}", "objectClass: groupOfNames",
                 f"cn: {name}"]  # fmt: skip
        lines += [f"member: uid={user},ou=people,{BASE}" for user in users]
        self.add("\n".join(lines) + "\n")

    def config(self, **members):
        """The directory's part of our configuration."""
        return {
            "server": "127.0.0.1",
            "port": self.plain,
            "security": "starttls",
            "ca_file": str(self.folder / "ca.pem"),
            "bind_dn": READER,
            "password_source": f"file:{self.folder}/reader.secret",
            "base": f"ou=people,{BASE}",
            "disabled_filter": "(employeeType=disabled)",
            "page_size": PAGE,
            "interval": "PT0S",
            "timeout_ms": 2000,
            **members,
        }
