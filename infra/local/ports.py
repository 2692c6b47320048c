"""The ports of the stack: the file, the offset, the overrides, and whether one is free."""

import os
import socket
from pathlib import Path

FILE = Path(__file__).with_name("ports.env")


def read(environ=os.environ, file=FILE):
    """Port by name, after PORT_OFFSET and overrides."""
    ports = {}
    offset = number("PORT_OFFSET", environ.get("PORT_OFFSET") or "0")
    for line in file.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        name, value = line.split("=", 1)
        given = environ.get(name)
        port = number(name, given) if given else int(value) + offset
        if not 0 < port < 65536:
            raise SystemExit(f"{name} would be {port}, which is no port: set {name} or PORT_OFFSET to something smaller")
        ports[name] = port
    double = {port for port in ports.values() if list(ports.values()).count(port) > 1}
    for port in double:
        names = ", ".join(name for name, value in ports.items() if value == port)
        raise SystemExit(f"{names} are all {port}: give each a port of its own")
    return ports


def number(name, text):
    try:
        return int(text)
    except ValueError:
        raise SystemExit(f"{name}={text} is not a number") from None


def free(port, host="127.0.0.1"):
    """Whether nobody listens on the port of this address (a connection's remains do not count)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def answers(host, port):
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True
