# What people and CI run; `make` alone lists it. ARGS="…" goes to the program that a target runs.

.DEFAULT_GOAL := help
.PHONY: help setup run test test-browser bench load rehearsal pictures fuzz-api lint
# One build at a time: they would only wait for each other's lock.
.NOTPARALLEL:

# Where rustup puts cargo; a shell that is no login shell may not look there.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

# What is not in the default build is tested all the same.
FEATURES := kafka,otel

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Installs what is missing on this machine, for everything (each target installs what it needs by itself)
	@scripts/setup --test --bench --browser

run: ## Builds and runs everything: Redis, PostgreSQL and the service (ARGS="--port 9000 --fresh")
	@scripts/setup
	@test -d target/debug || echo "The first build takes some minutes: two on two cores."
	cargo run --locked --bin flashsale -- dev $(ARGS)

test: lint ## Checks format, lints and docs, and runs every test on real Redis and PostgreSQL
	cargo test --workspace --locked --features $(FEATURES) $(ARGS)

test-browser: ## Plays a sale in headless Chromium, which it installs when it is missing (screenshots: target/browser)
	@scripts/setup --test --browser
	cargo test --workspace --locked --features $(FEATURES) --test browser -- --test-threads 1 $(ARGS)

bench: ## Load and comparison in one run: a table, and target/bench/summary.json
	@scripts/setup --bench
	cargo build --release --locked --workspace
	target/release/loadtests bench $(ARGS)

SCENARIO ?= rush
USERS ?= 200
TIME ?= 30s
load: ## Plays users against a shop of its own and checks its books (SCENARIO=rush USERS=200 TIME=30s; report: target/load)
	@scripts/setup
	cargo build --release --locked --workspace
	target/release/loadtests load --scenario $(SCENARIO) --users $(USERS) --time $(TIME) $(ARGS)

rehearsal: ## Finds out how many orders this machine sustains and what stops it: target/load/rehearsal.html
	@scripts/setup
	cargo build --release --locked --workspace
	target/release/loadtests rehearsal $(ARGS)

pictures: test-browser ## Draws the README's pictures anew: the dashboards' queries under load (2 minutes), and the pages as the browser test left them
	cargo test --workspace --locked --features $(FEATURES) --test it -- --ignored dashboards::pictures
	cp target/dashboards/*.svg grafana/pictures/
	cp target/browser/*.png tests/browser/pictures/

fuzz-api: ## Fuzzes the API as its OpenAPI documents describe it (FUZZ_SECONDS=90 each; the first time it needs the network)
	@scripts/setup
	cargo build --release --locked --bin flashsale
	scripts/fuzz-api

lint: ## Format, clippy and documentation, without a warning
	@scripts/setup --test
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --features $(FEATURES) -- -D warnings
	cargo clippy --workspace --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --features $(FEATURES)
