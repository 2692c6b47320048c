"""Private certificates of the stack's own servers."""

import base64
import os
import subprocess

# A configuration of our own: the system's may lack, or say something else.
CONFIGURATION = """\
[req]
distinguished_name = name
x509_extensions = authority
[name]
[authority]
basicConstraints = critical,CA:TRUE
subjectKeyIdentifier = hash
keyUsage = critical,keyCertSign,cRLSign
"""


def make(folder, server, names):
    """An authority of its own and a server's certificate (made last: it tells that the rest is there), once."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "server.crt").exists():
        return
    (folder / "server.ext").write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "3650", "-subj",
            "/CN=tenantry local")
    openssl(folder, "req", "-new", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", f"/CN={server}")
    openssl(folder, "x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "3650", "-extfile", "server.ext", "-out", "server.crt")


def openssl(folder, *words):
    (folder / "openssl.cnf").write_text(CONFIGURATION)
    env = os.environ | {"OPENSSL_CONF": str(folder / "openssl.cnf")}
    done = subprocess.run(["openssl", *words], cwd=folder, env=env, capture_output=True, text=True, umask=0o077)
    if done.returncode:
        raise SystemExit(f"openssl {words[0]} failed: {done.stderr.strip()}")


def ed25519_public(seed):
    """The public half of an Ed25519 key; both are 32 bytes in base64. Empty without openssl, which `needs` tells of."""
    if not installed()[0]:
        return ""
    # RFC 8410: the seed within PKCS #8. By standard input: arguments can be read by everybody.
    private = bytes.fromhex("302e020100300506032b657004220420") + base64.b64decode(seed)
    done = subprocess.run(["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"], input=private,
                          capture_output=True)
    if done.returncode:
        raise SystemExit(f"openssl pkey failed: {done.stderr.decode().strip()}")
    return base64.b64encode(done.stdout[-32:]).decode()


def installed():
    """For a part's `needs`."""
    found = any(os.access(f"{folder}/openssl", os.X_OK) for folder in os.get_exec_path())
    return found or None, "openssl"
