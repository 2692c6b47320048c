import struct
import sys
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "tools")]
from parts.kafka import topic_problem  # noqa: E402


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def metadata(error, *leaders):
    """A Metadata answer, version 4, of one broker and one topic."""
    partitions = b"".join(struct.pack(">hii", 0, number, leader) + struct.pack(">iiii", 1, 1, 1, 1)
                          for number, leader in enumerate(leaders))
    body = (struct.pack(">ii", 1, 0) + struct.pack(">ii", 1, 1) + text("127.0.0.1") + struct.pack(">i", 9) +
            struct.pack(">h", -1) + text("cluster") + struct.pack(">ii", 1, 1) + struct.pack(">h", error) + text("t") +
            b"\0" + struct.pack(">i", len(leaders)) + partitions)
    return body


class Kafka(unittest.TestCase):
    def test_a_topic_whose_partitions_all_have_leaders_is_there(self):
        self.assertIsNone(topic_problem(metadata(0, 1, 1, 1), "t"))

    def test_one_that_is_being_made_is_not(self):
        self.assertIn("error 5", topic_problem(metadata(5), "t"))
        self.assertIn("partition 1", topic_problem(metadata(0, 1, -1), "t"))


if __name__ == "__main__":
    unittest.main()
