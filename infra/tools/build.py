#!/usr/bin/env python3
"""Builds the pinned Go tools into the user's cache folder and prints where each binary is.

    build.py            builds what is missing; one line a binary on stdout: NAME PATH
    build.py etcd helm  only these tools

Each tool has a go.mod of its own, whose requirement of the tool is the pin; those named in go.work take the libraries that
they share in one version, so that these are compiled once for all of them. The pin names the folder:
~/.cache/tenantry/tools/<tool>-<version>. A binary of the same minor version on PATH or in KUBEBUILDER_ASSETS is used instead.
A second call finds everything and builds nothing.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORKSPACE = HERE / "go.work"

KUBERNETES = "k8s.io/kubernetes"
CRANE = "github.com/google/go-containerregistry"
OPENTOFU = "github.com/opentofu/opentofu"
OPERATOR = "github.com/prometheus-operator/prometheus-operator"


class Tool:
    """One folder with a go.mod: the module whose version is the pin, and the package of each binary."""

    def __init__(self, name, module, binaries, asked, minutes, stamp=None, rare=False):
        self.name, self.module, self.binaries = name, module, binaries
        self.asked = asked  # the arguments that make a binary print its version; empty: only our own build will do
        self.minutes = minutes  # on two cores, kubernetes first, to tell the reader how long to wait
        self.rare = rare  # not of the local stack: built when it is named only
        self.stamp = stamp  # variables the linker sets, so that the binary knows its version
        pin = re.search(rf"^\s*(?:require )?{re.escape(module)} (v\S+)", (HERE / name / "go.mod").read_text(), re.M)
        if not pin:
            raise SystemExit(f"infra/tools/{name}/go.mod does not require {module}")
        self.pin = self.version = pin.group(1)
        # A program of our own around somebody's packages, or one with libraries that others decide too: with any of that
        # edited, it is another version.
        decides = sorted((HERE / name).glob("*.go"))
        self.workspace = name in members()
        if self.workspace:
            decides += [WORKSPACE, *(HERE / member / "go.mod" for member in members())]
        elif decides:
            decides.append(HERE / name / "go.mod")
        if decides:
            digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in decides))
            self.version += "-" + digest.hexdigest()[:8]

    def folder(self):
        return cache() / f"{self.name}-{self.version}"

    def ldflags(self):
        flags = "-s -w"
        for variable, value in (self.stamp(self.pin) if self.stamp else {}).items():
            flags += f" -X {variable}={value}"
        return flags


def members():
    """The tools of the workspace."""
    return sorted(re.findall(r"^\t\./([\w-]+)$", WORKSPACE.read_text(), re.M))


def kubernetes_stamp(version):
    major, minor, _ = version[1:].split(".", 2)
    stamp = {}
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        stamp |= {f"{package}.gitVersion": version, f"{package}.gitMajor": major, f"{package}.gitMinor": minor}
    return stamp


def tools():
    kubernetes = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
    return [
        Tool("helm", "helm.sh/helm/v4", {"helm": "helm.sh/helm/v4/cmd/helm"}, {"helm": ["version", "--short"]}, 1,
             lambda v: {"helm.sh/helm/v4/internal/version.version": v}),
        Tool("etcd", "go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"}, {"etcd": ["--version"]}, 1),
        Tool("kwok", "sigs.k8s.io/kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, {"kwok": ["--version"]}, 1),
        Tool("otelcol", "go.opentelemetry.io/collector/otelcol", {"otelcol": "."}, {}, 2),
        Tool("prometheus-operator", OPERATOR, {"prometheus-operator": f"{OPERATOR}/cmd/operator"}, {}, 1),
        Tool("kubernetes", KUBERNETES, {name: f"{KUBERNETES}/cmd/{name}" for name in kubernetes},
             {name: ["version", "--client"] if name == "kubectl" else ["--version"] for name in kubernetes}, 7,
             kubernetes_stamp),
        Tool("pebble", "github.com/letsencrypt/pebble/v2", {"pebble": "github.com/letsencrypt/pebble/v2/cmd/pebble"}, {}, 1),
        Tool("opentofu", OPENTOFU, {"tofu": f"{OPENTOFU}/cmd/tofu"}, {"tofu": ["version"]}, 3,
             lambda _: {f"{OPENTOFU}/version.dev": "no"}),
        Tool("cert-manager-controllers", "github.com/cert-manager/cert-manager", {"cert-manager-controllers": "."}, {}, 1),
        Tool("crane", CRANE, {"crane": f"{CRANE}/cmd/crane"}, {"crane": ["version"]}, 1,
             lambda v: {f"{CRANE}/cmd/crane/cmd.Version": v}, rare=True),
    ]


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tenantry" / "tools"


def say(line):
    print(line, file=sys.stderr, flush=True)


def minor(version):
    found = re.search(r"v?(\d+)\.(\d+)\.\d+", version)
    return found.groups() if found else None


def given(tool, name):
    """A binary of the wanted minor version that the machine has already, or None."""
    if not tool.asked:
        return None
    places = [p for p in (os.environ.get("KUBEBUILDER_ASSETS"), *os.environ.get("PATH", "").split(os.pathsep)) if p]
    for place in places:
        candidate = Path(place) / name
        if not os.access(candidate, os.X_OK) or candidate.is_dir():
            continue
        try:
            answer = subprocess.run([candidate, *tool.asked[name]], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if answer.returncode == 0 and minor(answer.stdout) == minor(tool.version):
            return candidate
    return None


def build(tool):
    """Builds every binary of a tool. A kill in the middle leaves no half-made folder; two callers build once."""
    folder = tool.folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f".{folder.name}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another build of {tool.name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return
        if not shutil.which("go"):
            raise SystemExit("go is missing: install Go 1.26.6 or newer and put it on PATH")
        for leftover in folder.parent.glob(f".{folder.name}.tmp-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.tmp-", dir=folder.parent))
        say(f"building {tool.name} {tool.version}: {', '.join(tool.binaries)} (once, about {tool.minutes} min)")
        compile_into(tool, made)
        made.chmod(0o755)
        made.rename(folder)


def once(folder, make):
    """Fills a folder of the cache by `make(fresh)`. A kill in the middle leaves no half-made one; two callers make one."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f".{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            fresh = folder.with_name(f".{folder.name}.tmp")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            make(fresh)
            fresh.rename(folder)
    return folder


def run(what, command, **how):
    """Runs a command quietly; ends with the end of what it said when it fails."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, **how)
    if done.returncode:
        raise SystemExit(f"{what} failed: {(done.stderr.strip() or done.stdout.strip())[-1500:]}")
    return done.stdout


def compile_into(tool, made):
    env = os.environ | {"CGO_ENABLED": "0", "GOWORK": str(WORKSPACE) if tool.workspace else "off", "GOFLAGS": ""}
    # All binaries at once: one is compiled while another is linked, which a single core does.
    command = ["nice", "-n", "10", "go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false",
               "-ldflags", tool.ldflags(), "-o", f"{made}/", *tool.binaries.values()]
    began = time.monotonic()
    log = made.parent / f"{made.name}.log"
    with open(log, "w") as out:
        running = subprocess.Popen(command, cwd=HERE / tool.name, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        while True:
            try:
                failed = running.wait(timeout=30)
                break
            except subprocess.TimeoutExpired:
                say(f"  {tool.name}: {time.monotonic() - began:.0f} s")
    told = log.read_text()
    log.unlink()
    if failed:
        say("\n".join(told.splitlines()[-20:]))
        shutil.rmtree(made, ignore_errors=True)
        raise SystemExit(f"building {tool.name} failed (see above)")
    for name, package in tool.binaries.items():
        # Go names a program after the last part of its package: for one with `.` that of the module, but not its version.
        said = tool.name if package == "." else re.sub(r"/v\d+$", "", package).rpartition("/")[2]
        (made / said).rename(made / name)
    say(f"  {tool.name} is built ({time.monotonic() - began:.0f} s)")


def binaries(names=()):
    """Where each binary is, by name; what is missing is built first."""
    known = tools()
    unknown = set(names) - {tool.name for tool in known}
    if unknown:
        raise SystemExit(f"no such tool: {', '.join(sorted(unknown))}; there are {', '.join(t.name for t in known)}")
    found = {}
    for tool in known:
        if tool.name not in names if names else tool.rare:
            continue
        if not tool.folder().is_dir():
            ready = {name: given(tool, name) for name in tool.binaries}
            if all(ready.values()):
                found |= ready
                continue
            build(tool)
        found |= {name: tool.folder() / name for name in tool.binaries}
    return found


if __name__ == "__main__":
    for binary, path in binaries(sys.argv[1:]).items():
        print(binary, path)
