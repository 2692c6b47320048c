#!/usr/bin/env python3
"""Provisions the tenants acme (in a container of its own), globex (of the pooled instance) and initech (enterprise, with a
Postgres instance of its own) on the running local stack, shows their progress and each phase's time, proves from outside what
the phases have made, and says where each tenant lives.

Exit status 0: all are ACTIVE (also when they were before), and the proofs hold. 1: one is not and will not be without help,
or a proof fails; the error and what to do next are printed. A run under way is followed, not started again.
"""

import json
import sys
import time
import urllib.parse
import uuid
from datetime import datetime

sys.dont_write_bytecode = True

import proof  # noqa: E402
from part import ask  # noqa: E402
from settings import Stack, read_env  # noqa: E402

ACME = {
    "slug": "acme", "name": "Acme", "tier": "professional", "region": "eastus", "adminEmail": "admin@acme.example",
    "deploymentType": "container_per_tenant",
}
GLOBEX = {"slug": "globex", "name": "Globex", "tier": "free", "region": "za-north", "adminEmail": "admin@globex.example"}
INITECH = {"slug": "initech", "name": "Initech", "tier": "enterprise", "region": "eu-west-1",
           "adminEmail": "admin@initech.example"}
TENANTS = (ACME, GLOBEX, INITECH)
POLL = 0.3  # seconds
SILENCE = 60  # seconds without any answer of the API until we give up
# Run states in which nothing goes on by itself.
HALTED = ("paused", "stuck")
# States of a phase that come after its operations; the others come before them.
ENDED = ("done", "failed", "reverted", "skipped")


class Api:
    def __init__(self, url, token):
        self.url, self.token = url, token

    def call(self, method, path, body=None, headers=None):
        """Status and decoded answer; waits through a restart of the API."""
        silent_since = time.monotonic()
        while True:
            status, text = ask(self.url + "/api/v1" + path, token=self.token, method=method, body=body, headers=headers,
                               timeout=15)
            if status not in (0, 502, 503):
                return status, decoded(text)
            if time.monotonic() - silent_since > SILENCE:
                raise SystemExit(f"{self.url} does not answer: {text[:300]}\nsee `make status` and the logs")
            time.sleep(1)


def decoded(text):
    try:
        answer = json.loads(text)
    except ValueError:
        return {"detail": text[:300]}
    return answer if isinstance(answer, dict) else {"detail": text[:300]}


def problem(status, answer):
    """One line of a problem+json answer."""
    line = f"{status} {answer.get('code') or ''} {answer.get('detail') or answer.get('title') or ''}".strip()
    for error in answer.get("errors") or []:
        line += f"\n  {error}"
    return line


def find_or_create(api, tenant=ACME):
    """Says whether a run has been started, is under way, or the tenant is there already."""
    path = f"/tenants/{tenant['slug']}"
    status, answer = api.call("GET", path)
    if status == 200 and answer.get("status") != "DELETED":
        return answer.get("status", "")
    if status not in (200, 404):
        raise SystemExit(f"looking for {tenant['slug']} failed: {problem(status, answer)}")
    # One key for all tries of this request, so that a lost answer does not make a second tenant.
    status, answer = api.call("POST", "/tenants", body=tenant, headers={"Idempotency-Key": str(uuid.uuid4())})
    if status not in (200, 201, 202):
        raise SystemExit(f"creating {tenant['slug']} failed: {problem(status, answer)}")
    return "CREATED"


class Progress:
    """Turns one status answer after another into lines: each change of a phase, an operation or a wait once."""

    def __init__(self):
        self.seen = {}
        self.began = time.monotonic()

    def lines(self, status):
        for phase in status.get("phases") or []:
            name = phase.get("name", "?")
            before = self.seen.setdefault(name, {"state": "pending", "operations": {}, "waitingOn": None, "error": None})
            state, ended = phase.get("state") or "pending", phase.get("state") in ENDED
            if state != before["state"] and not ended:
                yield f"{name} {state}"
            for operation in phase.get("operations") or []:
                key, step = operation.get("name"), operation.get("state")
                if before["operations"].get(key) != step and step not in (None, "pending"):
                    before["operations"][key] = step
                    yield f"{name}: {key} {step}"
            if state != before["state"] and ended:
                yield f"{name} {state}"
            before["state"] = state
            waiting = phase.get("waitingOn")
            if waiting and waiting != before["waitingOn"]:
                yield f"{name} waits for {waiting}"
            before["waitingOn"] = waiting
            error = (phase.get("error") or {}).get("message")
            if error and error != before["error"]:
                failures = (phase.get("attempts") or {}).get("totalFailures") or 1
                yield f"{name} failed {failures} time(s): {error}"
            before["error"] = error

    def stamp(self):
        return f"{time.monotonic() - self.began:7.1f} s"


def follow(api, slug=ACME["slug"], out=sys.stdout):
    """Shows the run until it ends; None when the tenant is ACTIVE, else why it is not."""
    progress, live = Progress(), out.isatty()
    while True:
        code, status = api.call("GET", f"/tenants/{slug}/provisioning/status")
        if code != 200:
            return f"reading the status failed: {problem(code, status)}"
        for line in progress.lines(status):
            print(("\r\033[K" if live else "") + f"{progress.stamp()}  {line}", file=out, flush=True)
        tenant, run = (status.get("tenant") or {}).get("status"), status.get("run") or {}
        if live:
            print(f"\r\033[K{progress.stamp()}  {now(status)}", end="", file=out, flush=True)
        if tenant in ("ACTIVE", "FAILED", "DELETED", "SUSPENDED") or run.get("status") in HALTED:
            if live:
                print("\r\033[K", end="", file=out, flush=True)
            return None if tenant == "ACTIVE" else verdict(slug, tenant, run, status)
        time.sleep(POLL)


def now(status):
    remaining = status.get("expectedRemainingSeconds")
    left = f", about {remaining:.0f} s left" if isinstance(remaining, (int, float)) else ""
    return f"{status.get('percent') or 0:.0f} %{left}{', slower than usual' if status.get('slow') else ''}"


def verdict(slug, tenant, run, status):
    lines = [f"{slug} is {tenant}, its run is {run.get('status', 'unknown')}"]
    for phase in status.get("phases") or []:
        error = phase.get("error") or {}
        if error:
            lines.append(f"  {phase.get('name')}: {error.get('code', '')} {error.get('message', '')}".rstrip())
            if error.get("nextAction"):
                lines.append(f"  what to do: {error['nextAction']}")
    if tenant == "FAILED":
        lines.append(f"  POST /api/v1/tenants/{slug}/provisioning/retry tries again; `make clean-local` begins anew")
    return "\n".join(lines)


def times(status):
    """One line a phase: how long it took, from its claim to its completion, waits included."""
    for phase in status.get("phases") or []:
        began, ended = instant(phase.get("startedAt")), instant(phase.get("finishedAt"))
        took = f"{(ended - began).total_seconds():7.1f} s" if began and ended else "        –"
        yield f"{took}  {phase.get('name', '?')}"


def instant(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def farewell(stack, values, phases):
    broker = urllib.parse.urlsplit(values.get("RABBITMQ_MANAGEMENT_URL", ""))
    print(f"""
API            {values['API_URL']}/api/v1/tenants/acme, …/globex, …/initech  (OpenAPI: {values['API_URL']}/openapi.json)
progress       {values['API_URL']}/api/v1/tenants/acme/provisioning/status
RabbitMQ       {f'http://{broker.hostname}:{broker.port}' if broker.hostname else '(given by AMQP_URL)'}
Kafka          {values['KAFKA_BROKERS']}, topic tenantry.tenants
mailbox        {values['MAILBOX_URL'] or '(given by SMTP_URL)'}
names          dig @{values['RESOLVER_ADDR'].replace(':', ' -p ')} acme.matih.ai
charts         {values['CHART_REPOSITORY_URL']}
cluster        KUBECONFIG={values['KUBECONFIG']}
all addresses and secrets: {stack.env_file}  (set -a; . {stack.env_file}; set +a)
""")
    for line in simulated(stack, phases):
        print(line)


def simulated(stack, phases):
    """Which parts are not what a customer would have, in words."""
    if not stack.given("TENANTRY_KUBECONFIG"):
        yield "Simulated: nodes and pods, by kwok. Scheduling, quotas and readiness are real; containers do not run, and"
        yield "NetworkPolicies are stored but not enforced. Every tenant-api endpoint is therefore the one local process."
        if "PROVISIONING_INFRASTRUCTURE" in phases:
            yield "initech's Postgres instance is a real one of its own, on this machine; in production it is the cloud's."
        if "DEPLOY_INGRESS_CONTROLLER" in phases:
            yield "Load balancers' addresses are unique and released with their Service, but nobody listens there."
        if "SETUP_OBSERVABILITY" in phases:
            yield "Loki and Tempo are stood in for: a real collector, started with the tenant's own configuration, sends to"
            yield "what keeps the last of it in memory, and answers the phase's check."
    if "CREATE_TENANT_INGRESS" in phases and not stack.given("ACME_DIRECTORY_URL"):
        yield "cert-manager's controllers, the DNS-01 challenge and the name servers are real; the authority is Pebble, which"
        yield "nobody's browser trusts."
    if not stack.given("SMTP_URL"):
        yield "E-mail stays in the local mailbox."


def provision(api, wanted, out=sys.stdout):
    """Brings a tenant to ACTIVE, its progress on `out`; None, or why it is not."""
    slug, began = wanted["slug"], time.monotonic()
    found = find_or_create(api, wanted)
    if found == "ACTIVE":
        print(f"{slug} is ACTIVE", flush=True)
        return None
    print(f"provisioning {slug}" if found == "CREATED" else f"{slug} is {found}: following its run", flush=True)
    if failed := follow(api, slug, out):
        return failed
    print(f"{slug} is ACTIVE ({time.monotonic() - began:.1f} s)", flush=True)
    return None


def took(tenant):
    """How long the tenant's provisioning took, in words."""
    began, ended = instant(tenant.get("provisioningStartedAt")), instant(tenant.get("provisioningCompletedAt"))
    return f"{(ended - began).total_seconds():.1f} s" if began and ended else "–"


def table(rows):
    """Rows of texts as lines, each column as wide as it must be; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip()


def connect(values):
    return Api(values["API_URL"], values["ADMIN_TOKEN"])


def main():
    stack = Stack()
    values = read_env(stack.env_file)
    if "API_URL" not in values:
        raise SystemExit(f"{stack.env_file} is not there yet: start the stack first (make run)")
    api = connect(values)
    for wanted in TENANTS:
        if failed := provision(api, wanted):
            print(failed, file=sys.stderr)
            return 1
    return show(stack, values)


def show(stack, values):
    """What of the tenants is proved from outside, where they live, and where everything is; the exit status."""
    api, failures, everything = connect(values), [], set()
    homes = [("tenant", "tier", "region", "deployment", "Postgres", "database", "schema", "namespace", "took")]
    for wanted in TENANTS:
        slug = wanted["slug"]
        tenant, status = look(api, f"/tenants/{slug}"), look(api, f"/tenants/{slug}/provisioning/status")
        print(f"\n{slug}, time by phase:")
        for line in times(status):
            print(f"  {line}")
        phases = {phase.get("name") for phase in status.get("phases") or []}
        everything |= phases
        failures.append(proof.prove(stack, values, tenant, phases, sys.stdout))
        try:
            home = proof.Proof(stack, values, tenant).home()
        except (proof.NotProved, OSError) as problem:
            failures.append(f"NOT proved: {problem}")
            home = ("?", "?", "?", "?")
        homes.append((slug, tenant["tier"], tenant["region"], tenant["deploymentType"], *home, took(tenant)))
    print("\nwhere they live, as Postgres and the cluster say:")
    for line in table(homes):
        print(f"  {line}")
    farewell(stack, values, everything)
    for failed in filter(None, failures):
        print(failed, file=sys.stderr)
    return 1 if any(failures) else 0


def look(api, path):
    status, answer = api.call("GET", path)
    if status != 200:
        raise SystemExit(f"reading {path} failed: {problem(status, answer)}")
    return answer


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
