import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import ports  # noqa: E402


class Ports(unittest.TestCase):
    def test_stacks_a_thousand_apart_never_meet(self):
        rests = [port % 1000 for port in ports.read({}).values()]
        self.assertEqual(len(rests), len(set(rests)))

    def test_they_stay_below_the_ephemeral_range(self):
        self.assertLess(max(ports.read({"PORT_OFFSET": "5000"}).values()), 32768)

    def test_an_override_is_not_moved_by_the_offset(self):
        found = ports.read({"PORT_OFFSET": "1000", "API_PORT": "8181"})
        self.assertEqual((found["API_PORT"], found["LAMBDA_PORT"]), (8181, 10000))

    def test_nonsense_is_named(self):
        for environ in ({"API_PORT": "x"}, {"PORT_OFFSET": "60000"}, {"API_PORT": "9000"}):
            with self.assertRaisesRegex(SystemExit, "API_PORT|PORT_OFFSET|LAMBDA_PORT"):
                ports.read(environ)


if __name__ == "__main__":
    unittest.main()
