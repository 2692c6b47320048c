import os
import sys
import tempfile
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "tools")]
import crds  # noqa: E402
import ports  # noqa: E402
import stack  # noqa: E402


class Parts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.environ = {"TENANTRY_LOCAL": folder.name, "PATH": os.environ["PATH"]}

    def stack(self, **given):
        return stack.Stack("test", self.environ | given)

    def test_every_port_and_every_part_named_is_there(self):
        made, known = self.stack(), ports.read({})
        names = [part.name for part in made.parts]
        self.assertEqual(len(names), len(set(names)))
        for part in made.parts:
            for port in [*part.ports, *(name for _, name in part.elsewhere)]:
                self.assertIn(port, known, part.name)
            self.assertLessEqual(set(part.after), set(names), part.name)

    def test_no_part_waits_for_a_later_one(self):
        seen = set()
        for part in self.stack().parts:
            self.assertLessEqual(set(part.after), seen, part.name)
            seen.add(part.name)

    def test_what_is_given_is_not_started(self):
        given = {"KAFKA_BROKERS": "k:9092", "SMTP_URL": "smtp://m", "PDNS_URL": "http://p", "PARENT_PDNS_URL": "http://q",
                 "RESOLVER_ADDR": "r:53", "ACME_DIRECTORY_URL": "https://a/dir", "DNS_ADDR": "c:53", "PARENT_DNS_ADDR": "d:53"}
        made = self.stack(**given)
        names = {part.name for part in made.chosen()}
        self.assertFalse(names & {"kafka", "maildev", "child-dns", "parent-dns", "resolver", "pebble"})
        self.assertIn("cert-manager", names)
        self.assertEqual({name: made.env_values()[name] for name in given}, given)

    def test_one_given_name_server_asks_for_what_goes_with_it(self):
        made = self.stack(PDNS_URL="http://p")
        with self.assertRaisesRegex(SystemExit, "PDNS_API_KEY"):
            next(part for part in made.parts if part.name == "child-dns").adopt()


class Crds(unittest.TestCase):
    def test_a_definition_carries_the_mark_of_its_file(self):
        for text in ("metadata:\n  annotations:\n    a: b\n  name: x\n", "metadata:\n  name: x\n"):
            marked = crds.marked(text)
            self.assertIn(f'\n  annotations:\n    {crds.DIGEST}: "{crds.digest(text)}"\n', marked)
            self.assertTrue(marked.endswith("  name: x\n"))


if __name__ == "__main__":
    unittest.main()
