"""The chart repository: every chart of infra/charts, packaged, served over HTTP."""

import os
import shutil
import subprocess
import sys

from part import Part, serves


class Charts(Part):
    name = "charts"
    ports = ("CHART_REPOSITORY_PORT",)
    given = "CHART_REPOSITORY_URL"
    tools = ("helm",)

    def url(self):
        return f"http://127.0.0.1:{self.port('CHART_REPOSITORY_PORT')}"

    def prepare(self):
        """Packages afresh at each start, so that an edited chart is served; whoever reads meanwhile sees whole files."""
        served, fresh = self.home, self.stack.local / "charts.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        served.mkdir(exist_ok=True)
        source, copy = self.stack.root / "infra" / "charts", self.stack.local / "charts.src"
        shutil.rmtree(copy, ignore_errors=True)
        if source.is_dir():
            # A copy, because helm puts a chart's dependencies into the chart's own folder.
            shutil.copytree(source, copy)
            if charts := sorted(path.parent for path in copy.glob("*/Chart.yaml")):
                self.helm("package", "--dependency-update", *charts, "--destination", fresh)
            shutil.rmtree(copy)
        self.helm("repo", "index", fresh, "--url", self.url())
        packed = {path.name for path in fresh.iterdir()}
        for path in sorted(fresh.iterdir(), key=lambda path: path.name == "index.yaml"):
            path.rename(served / path.name)
        for path in served.iterdir():
            if path.name not in packed:
                path.unlink()
        fresh.rmdir()

    def helm(self, *words):
        # A private home: helm reads plugins and repositories of the user's otherwise.
        env = os.environ | {"HELM_CONFIG_HOME": str(self.stack.local / "helm"),
                            "HELM_CACHE_HOME": str(self.stack.local / "helm"),
                            "HELM_DATA_HOME": str(self.stack.local / "helm")}
        done = subprocess.run([self.stack.bin / "helm", *words], env=env, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"helm {words[0]} failed: {done.stderr.strip() or done.stdout.strip()}")

    def command(self):
        return [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", self.home,
                self.port("CHART_REPOSITORY_PORT")]

    def ready(self):
        return serves(f"{self.url()}/index.yaml")

    def exports(self):
        return {"CHART_REPOSITORY_URL": self.stack.given("CHART_REPOSITORY_URL") or self.url()}
