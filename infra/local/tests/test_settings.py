import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from settings import Stack, read_env  # noqa: E402
from supervisor import render, socket_path  # noqa: E402


class Settings(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def stack(self, **environ):
        return Stack(environ={"TENANTRY_LOCAL": str(self.folder), **environ})

    def test_secrets_are_kept_and_private(self):
        first = self.stack().secret("x")
        self.assertEqual(first, self.stack().secret("x"))
        self.assertEqual((self.folder / "secrets.json").stat().st_mode & 0o777, 0o600)

    def test_the_env_file_survives_awkward_values(self):
        stack = self.stack()
        values = {"A": "it's $HOME `x` \"y\"", "B": "plain", "C": "p@ss:#%"}
        stack.write_env(values)
        self.assertEqual(read_env(stack.env_file), values)
        self.assertEqual(stack.env_file.stat().st_mode & 0o777, 0o600)

    def test_a_sourced_env_file_gives_nothing(self):
        self.stack().write_env({"DATABASE_URL": "postgres://ours"})
        sourced = self.stack(DATABASE_URL="postgres://ours", TENANTRY_ENV_OF=str(self.folder))
        self.assertIsNone(sourced.given("DATABASE_URL"))
        own = self.stack(DATABASE_URL="postgres://mine", TENANTRY_ENV_OF=str(self.folder))
        self.assertEqual(own.given("DATABASE_URL"), "postgres://mine")

    def test_a_long_path_gets_a_short_socket(self):
        deep = self.folder / ("d" * 120)
        short = socket_path(deep)
        self.addCleanup(short.parent.rmdir)  # it is not in the folder of this test
        self.assertLess(len(str(short)), 91)

    def test_a_percent_sign_in_the_path_is_no_substitution(self):
        self.assertIn("/a%%b/logs", render(Path("/a%b"), Path("/s")))


if __name__ == "__main__":
    unittest.main()
