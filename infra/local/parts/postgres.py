"""Postgres: the control plane's database and one shared database per region, in a private instance."""

import os
import shutil
import subprocess
import urllib.parse

import postgres_data
from part import Part, executable
from ports import answers
from settings import REGIONS

# The pooled tenant-api's own login: no rights but those of the tenant whom it works for, taken for one transaction.
POOL = "tenant_api"
# What Terraform knows of the enterprise tenants' infrastructure, in a database of its own with a login of its own.
STATE = "terraform"


class Postgres(Part):
    name = "postgres"
    ports = ("POSTGRES_PORT",)
    given = "DATABASE_URL"
    profiles = ("test", "full", "region")
    stop_signal = "INT"  # fast shutdown: sessions are ended, nothing is lost
    stop_group = False  # the postmaster ends its own children
    stop_wait = 60

    def needs(self):
        return [(executable(self.binary("initdb")), "postgresql")]

    def binary(self, name):
        return postgres_data.binary(self.home / "data", name)

    def prepare(self):
        postgres_data.make(self.home / "data", "postgres", self.stack.secret("postgres"))

    def shell(self):
        return postgres_data.serve(self.home / "data", {
            "listen_addresses": "127.0.0.1", "port": self.port("POSTGRES_PORT"), "unix_socket_directories": "",
            "max_connections": 500, "fsync": "on", "synchronous_commit": "on", "max_wal_size": "2GB",
            "password_encryption": "scram-sha-256", "log_line_prefix": "%m [%p] %d ",
        })

    def ready(self):
        return self.sql("SELECT 1;", "postgres")

    def sql(self, text, database, url=None):
        """Runs statements as the superuser, or by a given address; None, or what went wrong."""
        psql = self.binary("psql") or shutil.which("psql")
        env = os.environ | {"PGPASSWORD": self.stack.secret("postgres"), "PGCONNECT_TIMEOUT": "5"}
        if url:
            parsed = urllib.parse.urlsplit(url)
            env["PGPASSWORD"] = urllib.parse.unquote(parsed.password or "")
            user = urllib.parse.quote(urllib.parse.unquote(parsed.username or "postgres"))
            query = f"?{parsed.query}" if parsed.query else ""
            place = f"postgresql://{user}@{parsed.hostname}:{parsed.port or 5432}/{database}{query}"
        else:
            place = f"postgresql://postgres@127.0.0.1:{self.port('POSTGRES_PORT')}/{database}"
        done = subprocess.run([psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", place], env=env, text=True, cwd="/",
                              input=text, capture_output=True)
        return None if done.returncode == 0 else done.stderr.strip()

    def finish(self):
        script = ["SET log_min_error_statement = panic;"]  # errors must not put a verifier into the log
        for role, may in (("tenantry", "CREATEDB"), ("region_admin", "CREATEDB CREATEROLE"), (POOL, "NOINHERIT"),
                          (STATE, "")):
            script.append(f"SELECT 'CREATE ROLE {role}' WHERE to_regrole('{role}') IS NULL \\gexec")
            # OpenTofu's client refuses fewer than RFC 7677 asks for.
            verifier = postgres_data.verifier(self.stack.secret(role), 4096 if role == STATE else 1)
            script.append(f"ALTER ROLE {role} LOGIN {may} PASSWORD '{verifier}';")
        script += [create("tenantry", "tenantry"), create(STATE, STATE)]
        script += [create(database(region), "region_admin") for region in REGIONS]
        # DROP DATABASE … WITH (FORCE) ends the sessions of a tenant's role, and a vacuum of Postgres's own, which is nobody's. The
        # tests drop the databases that they make as the control plane's user.
        dropping = "region_admin, tenantry" if self.stack.profile == "test" else "region_admin"
        script.append(f"GRANT pg_signal_backend TO {dropping};")
        for name in ("tenantry", STATE, "postgres", "template1", *map(database, REGIONS)):
            script.append(f"REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC;")
        script.append("GRANT CONNECT ON DATABASE postgres TO tenantry, region_admin;")
        script += [f"GRANT CONNECT ON DATABASE {database(region)} TO {POOL};" for region in REGIONS]
        if problem := self.sql("\n".join(script), "postgres"):
            raise SystemExit(f"preparing the databases failed: {problem}")

    def adopt(self):
        """On a given server, the regions' shared databases are made where they are missing."""
        url = self.stack.given("DATABASE_URL")
        parsed = urllib.parse.urlsplit(url)
        if not answers(parsed.hostname, parsed.port or 5432):
            raise SystemExit(f"DATABASE_URL is given, but nothing answers at {parsed.hostname}:{parsed.port or 5432}")
        if problem := self.sql(create(STATE, None), parsed.path.lstrip("/"), url):
            raise SystemExit(f"DATABASE_URL: making the database {STATE} failed: {problem}")
        if self.stack.given("REGION_DATABASE_HOST"):
            return
        script = [create(database(region), None) for region in REGIONS]
        if not self.stack.given("POOL_DATABASE_URL"):
            script.append(f"SELECT 'CREATE ROLE {POOL}' WHERE to_regrole('{POOL}') IS NULL \\gexec")
            verifier = postgres_data.verifier(self.stack.secret(POOL))
            script.append(f"ALTER ROLE {POOL} LOGIN NOINHERIT PASSWORD '{verifier}';")
            script += [f"GRANT CONNECT ON DATABASE {database(region)} TO {POOL};" for region in REGIONS]
        if problem := self.sql("\n".join(script), parsed.path.lstrip("/"), url):
            raise SystemExit(f"DATABASE_URL: making the regions' databases failed: {problem}")

    def exports(self):
        secret = self.stack.secret
        url = self.stack.given("DATABASE_URL")
        if not url:
            port = self.port("POSTGRES_PORT")
            return {
                "DATABASE_URL": f"postgres://tenantry:{secret('tenantry')}@127.0.0.1:{port}/tenantry",
                "REGION_DATABASE_HOST": "127.0.0.1", "REGION_DATABASE_PORT": port,
                "REGION_DATABASE_ADMIN_USER": "region_admin", "REGION_DATABASE_ADMIN_PASSWORD": secret("region_admin"),
                "POOL_DATABASE_URL": pooled("127.0.0.1", port, secret(POOL)),
                "TERRAFORM_STATE_URL": f"postgres://{STATE}:{secret(STATE)}@127.0.0.1:{port}/{STATE}?sslmode=disable",
                "TERRAFORM_STATE_KEY": secret("terraform_state_key"),
            }
        parsed = urllib.parse.urlsplit(url)
        region = {
            "REGION_DATABASE_HOST": parsed.hostname, "REGION_DATABASE_PORT": parsed.port or 5432,
            "REGION_DATABASE_ADMIN_USER": urllib.parse.unquote(parsed.username or ""),
            "REGION_DATABASE_ADMIN_PASSWORD": urllib.parse.unquote(parsed.password or ""),
        }
        region = {name: self.stack.given(name) or value for name, value in region.items()}
        pool = pooled(region["REGION_DATABASE_HOST"], region["REGION_DATABASE_PORT"], secret(POOL))
        state = parsed._replace(path=f"/{STATE}", query=parsed.query or "sslmode=disable").geturl()
        state = {"TERRAFORM_STATE_URL": self.stack.given("TERRAFORM_STATE_URL") or state,
                 "TERRAFORM_STATE_KEY": secret("terraform_state_key")}
        return {"DATABASE_URL": url} | region | state | {"POOL_DATABASE_URL": self.stack.given("POOL_DATABASE_URL") or pool}


def pooled(host, port, password):
    """Of the pooled tenant-api's login, at any database of its server: it finds each tenant's by the catalogue."""
    return f"postgres://{POOL}:{password}@{host}:{port}/{database(REGIONS[0])}"


def database(region):
    return "region_" + region.replace("-", "_")


def create(name, owner):
    owned = f" OWNER {owner}" if owner else ""
    return f"SELECT 'CREATE DATABASE {name}{owned}' WHERE NOT EXISTS " \
           f"(SELECT FROM pg_database WHERE datname = '{name}') \\gexec"
