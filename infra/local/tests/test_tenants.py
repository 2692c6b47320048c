import io
import sys
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "tools")]
import provision  # noqa: E402
from tenants import EVERYTHING, NEEDS, SERVICE, TOFU, Prefixed, beginnable  # noqa: E402


class Tenants(unittest.TestCase):
    def test_each_begins_as_soon_as_what_it_needs_is_there(self):
        for there, active, wanted in (
            (set(), set(), []),
            ({SERVICE}, set(), ["globex"]),
            ({SERVICE, TOFU}, set(), ["globex"]),
            ({SERVICE, EVERYTHING}, set(), ["globex", "acme"]),
            ({SERVICE, EVERYTHING, TOFU}, set(), ["globex", "acme"]),  # initech would slow acme down
            ({SERVICE, EVERYTHING, TOFU}, {"acme"}, ["globex", "acme", "initech"]),
            ({SERVICE, EVERYTHING}, {"acme"}, ["globex", "acme"]),
        ):
            self.assertEqual(beginnable(list(NEEDS), there, active), wanted, (there, active))

    def test_every_tenant_of_a_first_start_has_its_place(self):
        self.assertEqual({wanted["slug"] for wanted in provision.TENANTS}, set(NEEDS))

    def test_lines_say_whose_they_are_and_are_whole(self):
        out = io.StringIO()
        one, other = Prefixed("acme    ", out), Prefixed("globex  ", out)
        one.write("P run")
        other.write("Q done")
        other.write("\n")
        one.write("ning\n")
        self.assertEqual(out.getvalue(), "globex  Q done\nacme    P running\n")


if __name__ == "__main__":
    unittest.main()
