# Every target sets up what it needs by itself. Addresses, folders and given parts: infra/local/stack.py --help

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Queries are checked against the committed .sqlx, not against whatever database the environment names.
export SQLX_OFFLINE := true
# The Lambda emulator and the servers inherit this; colours would end up in their logs.
export PYTHONDONTWRITEBYTECODE := 1

STACK := infra/local/stack.py
STEP := infra/tools/step

.PHONY: help run down clean-local status test bench images prepare tools

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: prepare ## builds and starts everything and provisions the tenants acme, globex and initech, with their progress
	@infra/local/run.py

down: ## stops the stack; data stays
	$(STACK) down

clean-local: ## stops the stack and forgets its data (built tools stay in the cache)
	$(STACK) clean

status: ## shows the parts of the running stack
	$(STACK) status

# A fresh clone has no second build to gain from incremental ones, which cost a minute and 2.5 GB, and nobody debugs there.
ifdef CI
test: export CARGO_INCREMENTAL := 0
test: export CARGO_PROFILE_DEV_DEBUG := none
endif
test: prepare ## everything CI runs; prints how long each step took
	@$(STEP) --begin
	@$(STEP) "format" cargo fmt --all --check
	@$(STEP) "local stack's own tests" python3 -m unittest discover --start-directory infra/local/tests
	@$(STEP) "images' own tests" python3 -m unittest discover --start-directory infra/images/tests
	@$(STEP) "documents" python3 -m unittest discover --start-directory infra/docs/tests
	@$(STEP) "licences, advisories" infra/tools/cargo_deny.py
	@$(STEP) "lint and build" infra/tools/compile
	@$(STEP) "tests on the stack" infra/local/with-stack infra/tools/compile infra/tools/cargo_nextest.py run \
		--workspace --locked --no-fail-fast
	@$(STEP) --table

bench: prepare ## prints the tables of throughput and latency
	cargo build --release --locked -p dispatcher
	cargo build --release --locked -p tests --bin bench
	infra/local/with-stack cargo run --release --locked -p tests --bin bench

images: prepare ## packs every program as an OCI image (IMAGES="name …"; PUSH=registry/prefix pushes them)
	infra/images/images.py $(IMAGES) $(if $(PUSH),--push "$(PUSH)")

prepare:
	@infra/local/prepare

tools:
	@infra/tools/build.py > /dev/null
