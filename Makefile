# Two commands matter: `make run` and `make test`. Both work on a fresh machine that has Rust, a C compiler and make.
.DEFAULT_GOAL := help
.PHONY: help run test million screenshots chaos conformance defences fuzz bench load check status stop reset

# Rust's installer puts cargo where a shell that was opened before does not look.
export PATH := $(PATH):$(HOME)/.cargo/bin

scripts := stack/stack stack/test stack/peers stack/conformance stack/defences fuzz/run k6/run .ci/run

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## install what is missing, start the services, build, and run Lemonair
	@stack/stack install
	@stack/stack up
	@cargo build --release -p lemonair
	@exec "$${CARGO_TARGET_DIR:-target}/release/lemonair" up

test: ## run every test on services of their own; the last line counts them
	@stack/test

million: ## the tests of replay, export and query on a million records
	LEMONAIR_TEST_RECORDS=1000000 stack/test --release -p lemonair --test replay --test export --test query

screenshots: ## pictures of every page, light and dark, on a desktop and on a phone, into docs/screenshots/
	@LEMONAIR_SCREENSHOTS="$(CURDIR)/docs/screenshots" stack/test -p lemonair --test looks

chaos: ## 20,000 donations while everything is killed in turn, on services of its own; then the projections 200 times
	@stack/stack install
	LEMONAIR_CHAOS_DONATIONS=20000 LEMONAIR_CHAOS_KILLS=5 cargo test -p lemonair --test chaos -- --nocapture
	LEMONAIR_KILLS=$${LEMONAIR_KILLS:-200} stack/test -p lemonair-projections --lib kills

conformance: ## Autobahn's cases for WebSocket servers (fetches kosoku from PyPI)
	@stack/conformance

fuzz: ## strangers' bytes against every parser that reads them, a minute each
	@fuzz/run

defences: ## take each defence out in turn, and show which test bites (docs/defences.md)
	@stack/defences

bench: ## run the benchmarks
	@stack/stack install
	@stack/stack up
	@cargo build --release -p lemonair
	@set -a; eval "$$(sed -n 's/^\(kafka_brokers\|registry_url\) = \(.*\)/LEMONAIR_\U\1\E=\2/p' .lemonair/stack.toml)"; \
	cargo bench --bench decider --bench publisher --bench rooms --bench history && \
	cargo bench --bench rebuild -- rebuild=$${LEMONAIR_BENCH_RECORDS:-10000000}

load: ## the load scenarios of k6/, with the real k6, against a Lemonair of their own
	@stack/stack install
	@cargo build --release -p lemonair
	@k6/run

check: ## formatting, lints, documentation, licences, shell scripts
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace
	@if command -v cargo-deny >/dev/null; then cargo deny check licenses bans sources; \
	else echo "skipped: licences and sources (install with: cargo install --locked cargo-deny)"; fi
	@if command -v shellcheck >/dev/null; then shellcheck -x $(scripts); \
	else echo "skipped: shell scripts (install with: apt-get install shellcheck)"; fi

status: ## show which services run, where, and how much memory they take
	@stack/stack status

stop: ## stop the services that were started here
	@stack/stack stop

reset: ## stop, and delete all data after asking (FORCE=1: without asking)
	@stack/stack reset
