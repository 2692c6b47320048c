"""Kafka: one broker that is its own controller, for the events of tenants."""

import base64
import shlex
import shutil
import socket
import struct

import kafka_jars
from part import Part

TOPIC = "tenantry.tenants"
# One broker on a small machine: no second copy of anything, and small tables of its own.
SETTINGS = {
    "process.roles": "broker,controller", "node.id": 1, "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT", "inter.broker.listener.name": "PLAINTEXT",
    "num.partitions": 3, "auto.create.topics.enable": "true", "default.replication.factor": 1,
    "offsets.topic.replication.factor": 1, "offsets.topic.num.partitions": 1,
    "transaction.state.log.replication.factor": 1, "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 1, "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1, "share.coordinator.state.topic.num.partitions": 1,
    "group.initial.rebalance.delay.ms": 0, "num.network.threads": 2, "num.io.threads": 2,
    "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
}
FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
         "-Djava.net.preferIPv4Stack=true",
         # A virtual machine leaves a folder for its counters in the machine's temporary one.
         "-XX:-UsePerfData")


class Kafka(Part):
    name = "kafka"
    ports = ("KAFKA_PORT", "KAFKA_CONTROLLER_PORT")
    given = "KAFKA_BROKERS"
    fetches = ("kafka",)
    bound = 120
    stop_wait = 30

    def needs(self):
        maven = kafka_jars.cached() or shutil.which("mvn") or None
        return [(shutil.which("java"), "default-jre-headless"), (maven, "maven")]

    def java(self, memory, *words):
        temporary = f"-Djava.io.tmpdir={self.stack.tmp}"
        return [shutil.which("java"), f"-Xmx{memory}m", *FLAGS, temporary, "-cp", f"{kafka_jars.jars()}/*", *words]

    def prepare(self):
        broker, controller = (f"127.0.0.1:{self.port(name)}" for name in self.ports)
        settings = SETTINGS | {
            "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
            "controller.quorum.voters": f"1@{controller}", "log.dirs": self.home / "data",
        }
        self.file("server.properties", "".join(f"{name}={value}\n" for name, value in settings.items()))
        consumer = shlex.join(map(str, self.java(128, "org.apache.kafka.tools.consumer.ConsoleConsumer")))
        self.stack.write(self.stack.bin / "kafka-console-consumer", f'#!/bin/sh\nexec {consumer} "$@"\n', 0o700)

    def cluster_id(self):
        return base64.urlsafe_b64encode(bytes.fromhex(self.stack.secret("kafka cluster"))[:16]).decode().rstrip("=")

    def shell(self):
        """Formats the folder before the first start."""
        config = self.home / "server.properties"
        # One word: an id may begin with a hyphen, and would be taken for another option.
        form = self.java(128, "kafka.tools.StorageTool", "format", f"--cluster-id={self.cluster_id()}", "-c", config)
        return f"[ -e {shlex.quote(str(self.home / 'data/meta.properties'))} ] || " \
               f"{shlex.join(map(str, form))}\n{super().shell()}"

    def command(self):
        return self.java(256, "kafka.Kafka", self.home / "server.properties")

    def ready(self):
        """Asks for the topic's partitions, which also makes the topic where it is missing."""
        try:
            return topic_problem(metadata("127.0.0.1", self.port("KAFKA_PORT"), TOPIC), TOPIC)
        except OSError as problem:
            return str(problem)

    def exports(self):
        return {"KAFKA_BROKERS": self.stack.given("KAFKA_BROKERS") or f"127.0.0.1:{self.port('KAFKA_PORT')}"}


def metadata(host, port, topic):
    """The answer to one Metadata request, version 4, that may create the topic."""
    name, client = topic.encode(), b"tenantry-local"
    body = struct.pack(">hhih", 3, 4, 1, len(client)) + client + struct.pack(">ih", 1, len(name)) + name + b"\x01"
    with socket.create_connection((host, port), timeout=5) as line:
        line.sendall(struct.pack(">i", len(body)) + body)
        return exactly(line, struct.unpack(">i", exactly(line, 4))[0])


def topic_problem(answer, topic):
    """None when every partition of the topic has a leader, by a Metadata answer of version 4."""
    reader = Reader(answer)
    reader.take("ii")  # correlation id, throttle time
    for _ in range(reader.take("i")[0]):
        reader.take("i"), reader.text(), reader.take("i"), reader.text()  # a broker: id, host, port, rack
    reader.text(), reader.take("i")  # the cluster's id, the controller's
    reader.take("i")  # one topic was asked for
    error = reader.take("h")[0]
    if error:
        return f"topic {topic}: error {error}"  # 3 and 5 while it is being made
    reader.text(), reader.take("b")
    for _ in range(reader.take("i")[0]):
        error, partition, leader = reader.take("hii")
        if error or leader < 0:
            return f"partition {partition} of {topic}: error {error}, leader {leader}"
        for _ in range(2):  # replicas, and those in sync
            reader.take(f"{reader.take('i')[0]}i")
    return None


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        found = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return found

    def text(self):
        length = self.take("h")[0]
        return self.take(f"{max(length, 0)}s")[0].decode()


def exactly(line, count):
    data = b""
    while len(data) < count:
        more = line.recv(count - len(data))
        if not more:
            raise OSError("the broker closed the connection")
        data += more
    return data
