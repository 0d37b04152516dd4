# One target for each task of people and CI; each is safe to repeat. On Debian 12 only make and git must be installed by
# hand. HAProxy, keepalived and cloud-init are never installed on the host: they are in the lab's image.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

LAB  := target/lab
VENV := $(LAB)/venv
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=PATH,HOME,CARGO_HOME,RUSTUP_HOME,ELBOW_LAB_DIR)

# The AWS SDK determines the oldest Rust that works. If the user's own Rust is older, Debian's (from its security updates)
# comes first in PATH.
RUST_WANTED := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
RUST_THERE  := $(shell cargo --version 2>/dev/null | cut -d' ' -f2)
RUST_IS_OLD := $(filter-out $(RUST_WANTED),$(shell printf '%s\n' $(RUST_WANTED) $(or $(RUST_THERE),0) | sort -V | head -n1))
ifneq ($(RUST_IS_OLD),)
export PATH := /usr/bin:$(PATH)
endif

# All crates in one step: another selection has other features, and compiles aws-sdk-ec2 again.
CARGO_FLAGS := --release --workspace --locked

# gcc: crates with C; systemd-container: nspawn; mmdebstrap: the image; dpkg-dev, apt-utils, rpm, createrepo-c: the lab's
# package repository; stress-ng: the load under which nothing may fail over.
PACKAGES := gcc libc6-dev curl ca-certificates git jq shellcheck python3 python3-venv iproute2 nftables procps \
            util-linux systemd-container mmdebstrap dpkg-dev apt-utils rpm createrepo-c stress-ng

# cargo-web, rustc-web: Debian's Rust, the way to a standard library for the other architecture; binutils, qemu-user and the
# other architecture's glibc: dist-check.
RUST_PACKAGES := cargo-web rustc-web
DIST_PACKAGES := binutils qemu-user libc6-$(if $(filter aarch64,$(shell uname -m)),amd64,arm64)-cross

.PHONY: help setup packages rust-packages dist-packages rust build test test-docs test-faults chaos lint demo bench prove-on-aws \
        dist dist-check size clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: packages rust $(VENV)/.done build ## install what a fresh machine needs: packages, Rust, moto, the lab's image
	$(SUDO) target/release/lab image

packages: WANTED := $(PACKAGES)
rust-packages: WANTED := $(RUST_PACKAGES)
dist-packages: WANTED := $(DIST_PACKAGES)
rust-packages dist-packages: packages
packages rust-packages dist-packages:
	@missing=$$(for p in $(WANTED); do dpkg-query -Wf '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  $(SUDO) apt-get update -q; \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $$missing; \
	fi

rust: packages $(if $(RUST_IS_OLD),rust-packages)

$(VENV)/.done: tests/lab/moto/requirements.txt | packages
	/usr/bin/python3 -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

build: rust ## build target/release/launcher, agent, lab and prove
	cargo build $(CARGO_FLAGS) --bins

test: setup ## run all tests, with the lab's (needs root: containers and network namespaces)
	tests/run.sh

test-docs: setup ## check the documents, and run in the lab what they show
	tests/run.sh documents

test-faults: setup ## inject one fault after another, and check what clients saw of each
	tests/run.sh faults

chaos: setup ## inject random faults for ten minutes and print each outage; SEED=N replays a run, SECONDS=N sets its length
	$(SUDO) target/release/lab chaos $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS))

lint: rust packages ## run rustfmt, clippy, shellcheck
	cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings
	# --all-targets leaves out tests that `cargo test` doesn't run by itself.
	cargo clippy $(CARGO_FLAGS) --test end_to_end --test faults --test machines --test real_programs --test launcher_api -- -D warnings
	shellcheck -x $$(git ls-files '*.sh' .ci/run ':!templates/templates') templates/goldens/*/install.sh

demo: setup ## create a balancer in the lab, lose a node, destroy the balancer
	$(SUDO) tests/demo.sh

# PROVE='--agent-url URL --agent-sha256 HEX' adds a balancer; PROVE='--clean RUN-ID' removes what a killed run left.
prove-on-aws: build ## measure what only AWS can answer, after your consent, and remove everything (25 minutes, 0.05 USD)
	target/release/prove $(PROVE)

dist: packages rust-packages ## build the release into target/dist: a tarball for x86_64 and one for aarch64, and SHA256SUMS
	tests/dist.sh

dist-check: setup dist dist-packages ## check the tarballs: glibc, both architectures, sizes, a newcomer in the lab
	$(SUDO) tests/dist-check.sh

# BENCH=takeover, lost, zone, idle or data-plane runs one section, BENCH='lost --quick' a short one. RUNNER: Cargo runs as this user.
RUNNER := CARGO_TARGET_$(shell uname -m | tr '[:lower:]' '[:upper:]')_UNKNOWN_LINUX_GNU_RUNNER
bench: setup ## compare Elbow with other solutions, into docs/bench.md (80 minutes; BENCH=takeover|lost|zone|idle|data-plane for a part)
	$(if $(SUDO),$(RUNNER)="$(SUDO)") cargo bench --profile release --workspace --locked --bench bench -- $(BENCH)

size: setup dist ## print the released agent's size, and its memory in the lab
	$(SUDO) tests/size.sh

clean: ## remove all builds (building the SDK again takes minutes)
	cargo clean
