# What people and CI do here, a target each. Everything is safe to repeat; nothing needs to be installed by hand first
# on Debian 12 but make and git. HAProxy, keepalived and cloud-init are never installed on the host: they live in the
# lab's image.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

LAB  := target/lab
VENV := $(LAB)/venv
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=PATH,HOME,CARGO_HOME,RUSTUP_HOME,ELBOW_LAB_DIR)

# The AWS SDK sets the oldest Rust that will do. Debian has one that is new enough among its security updates, and it
# goes before an older one of the user's own.
RUST_WANTED := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
RUST_THERE  := $(shell cargo --version 2>/dev/null | cut -d' ' -f2)
RUST_IS_OLD := $(filter-out $(RUST_WANTED),$(shell printf '%s\n' $(RUST_WANTED) $(or $(RUST_THERE),0) | sort -V | head -n1))
ifneq ($(RUST_IS_OLD),)
export PATH := /usr/bin:$(PATH)
endif

# In one step for all crates: another selection is another set of features, and compiles aws-sdk-ec2 again.
CARGO_FLAGS := --release --workspace --locked

# gcc: crates with C; systemd-container: nspawn; mmdebstrap: the image; dpkg-dev, apt-utils: the lab's package repository;
# stress-ng: the load under which nothing may fail over.
PACKAGES := gcc libc6-dev curl ca-certificates git jq shellcheck python3 python3-venv iproute2 nftables procps \
            util-linux systemd-container mmdebstrap dpkg-dev apt-utils stress-ng

.PHONY: help setup packages rust build test test-faults chaos lint demo bench dist size clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: packages rust $(VENV)/.done build ## everything a fresh machine needs: packages, Rust, moto, the lab's image
	$(SUDO) target/release/lab image

packages:
	@missing=$$(for p in $(PACKAGES); do dpkg-query -Wf '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  $(SUDO) apt-get update -q; \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $$missing; \
	fi

rust: packages
ifneq ($(RUST_IS_OLD),)
	@dpkg-query -Wf '$${Status}' cargo-web rustc-web 2>/dev/null | grep -q 'ok installed.*ok installed' || { \
	  $(SUDO) apt-get update -q; \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends cargo-web rustc-web; }
endif

$(VENV)/.done: tests/lab/moto/requirements.txt | packages
	/usr/bin/python3 -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

build: rust ## target/release/launcher, agent and lab
	cargo build $(CARGO_FLAGS) --bins

test: setup ## all tests, the lab's included (needs root: containers and network namespaces)
	tests/run.sh

test-faults: setup ## everything that can go wrong, one fault after another, and what clients saw of each
	tests/run.sh faults

chaos: setup ## random faults for ten minutes, each outage printed; SEED=N replays a run, SECONDS=N sets its length
	$(SUDO) target/release/lab chaos $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS))

lint: rust packages ## rustfmt, clippy, shellcheck
	cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings
	# --all-targets leaves out tests that `cargo test` doesn't run by itself.
	cargo clippy $(CARGO_FLAGS) --test end_to_end --test faults --test launcher_api -- -D warnings
	shellcheck -x $$(git ls-files '*.sh' .ci/run) templates/goldens/*/install.sh

demo: setup ## the whole way, watched: create, serve, lose a node, destroy
	$(SUDO) tests/demo.sh

dist: rust packages ## target/dist/agent and target/dist/launcher: small, portable, for shipping
	tests/dist.sh

# BENCH=takeover, lost, zone or idle measures one of them; BENCH='lost --quick' tries it. RUNNER: Cargo stays this user's.
RUNNER := CARGO_TARGET_$(shell uname -m | tr '[:lower:]' '[:upper:]')_UNKNOWN_LINUX_GNU_RUNNER
bench: setup ## Elbow beside other ways to do it, into docs/bench.md (an hour; BENCH=takeover|lost|zone|idle for a part)
	$(if $(SUDO),$(RUNNER)="$(SUDO)") cargo bench --profile release --workspace --locked --bench bench -- $(BENCH)

size: setup dist ## the shipped agent's size, and its memory in the lab
	$(SUDO) tests/size.sh

clean: ## removes what was built (the SDK's build takes minutes to come back)
	cargo clean
