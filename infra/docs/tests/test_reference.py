"""The reference pages say what the source says."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))

import codes  # noqa: E402
import settings  # noqa: E402
import source  # noqa: E402


class Pages(unittest.TestCase):
    def test_the_committed_pages_are_those_that_the_source_gives(self):
        done = subprocess.run([sys.executable, HERE / "reference.py", "--check"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_every_default_that_is_listed_belongs_to_a_setting(self):
        named = {setting.key for section in settings.sections() for setting in section.settings}
        sections = {section.path for section in settings.sections()}

        def walk(table, path):
            for key, value in table.items():
                whole = f"{path}.{key}" if path else key
                if isinstance(value, dict) and whole in sections:
                    walk(value, whole)
                elif isinstance(value, dict) and key == settings.EXAMPLE:
                    walk(value, f"{path}.<{settings.KEYS[path]}>")
                elif isinstance(value, dict) and whole not in named:
                    walk(value, whole)
                else:
                    self.assertIn(whole, named)

        import tomllib
        walk(tomllib.loads(settings.DEFAULTS.read_text()), "")


class Codes(unittest.TestCase):
    def read(self, text):
        """The codes of a function `a-phase` with this text."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        root = Path(folder.name)
        for name in ("shared/engine/src", "queue/src", "functions/a-phase/src"):
            (root / name).mkdir(parents=True)
        (root / "functions/a-phase/src/lib.rs").write_text(text)
        return codes.of_phases(root)

    def test_a_code_is_found_with_kind_place_cause_and_advice(self):
        found = self.read('fn f() -> Error { Error::fatal("too_bad", format!("{} is gone", a.name)).next("Look.") }')
        raised = found["too_bad", "fatal"]
        self.assertEqual((raised.where, raised.causes, raised.actions), (["`A_PHASE`"], ["{a} is gone"], ["Look."]))

    def test_a_code_is_followed_to_its_let_and_to_its_callers(self):
        found = self.read('''
            fn f(kind: Kind) -> Error {
                let code = match kind { Kind::A => "first", Kind::B => "second" };
                Error::retryable(code, "x")
            }
            fn g() -> Error { made("third") }
            fn made(code: &'static str) -> Error { Error::unavailable("dns", code, "it is away").next("Wait.") }
        ''')
        self.assertEqual({code for code, _ in found}, {"first", "second", "third"})
        self.assertEqual(found["third", "unavailable"].actions, ["Wait."])

    def test_a_code_that_cannot_be_followed_is_named_with_its_place(self):
        with self.assertRaisesRegex(source.Unreadable, "lib.rs"):
            self.read("fn f(it: It) -> Error { Error::fatal(it.code(), it.text()) }")

    def test_tests_give_no_codes(self):
        self.assertEqual(self.read('#[cfg(test)] mod tests { fn f() -> Error { Error::fatal("not_real", "x") } }'), {})


if __name__ == "__main__":
    unittest.main()
