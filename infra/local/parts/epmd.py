"""epmd: Erlang's name server, private to this stack, so that RabbitMQ neither uses nor starts the machine's own."""

import shutil
import sys

from part import Part
from ports import answers

# epmd always adds [::1] to the addresses it is told; a socket handed over as systemd does it is the only one it takes.
HAND_OVER = """\
import os, socket, sys
port, epmd = int(sys.argv[1]), sys.argv[2]
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", port))
listener.listen(128)
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(epmd, [epmd, "-systemd", "-port", str(port)])
"""


class Epmd(Part):
    name = "epmd"
    ports = ("EPMD_PORT",)
    given = "AMQP_URL"

    def needs(self):
        return [(shutil.which("epmd"), "rabbitmq-server")]

    def command(self):
        return [sys.executable, self.file("start.py", HAND_OVER), self.port("EPMD_PORT"), shutil.which("epmd")]

    def ready(self):
        return None if answers("127.0.0.1", self.port("EPMD_PORT")) else "it does not answer"
