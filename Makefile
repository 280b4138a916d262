# What a developer does with this repository; `make help` lists it.
#
#   make TARGET ──▶ Debian packages (only what is missing) ──▶ .venv (only if the
#   lock changed) ──▶ the tool itself
#
# Needs git, make and Python 3.11 or newer. Everything else it gets by itself.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON ?= python3
BIN := .venv/bin
# The lock is whole, so nothing is looked up beside it, whatever was published since and
# whichever pip is there.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps
CODE := app tests
SUITES := bookworm trixie
# The wheel is made from the source package, which so proves to be whole.
DIST := $(BIN)/uv build --quiet --no-build-isolation --python $(BIN)/python --out-dir
# Most tests wait more than they compute. Neighbours stay together as long as nobody is
# idle. A process that a test brings down costs that test alone: by file, pytest-xdist
# 3.8 would wait for ever for what was left of the file.
SPREAD := -n 3 --dist worksteal
# A private mDNS daemon, networks of our own and full disks need root.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo env PATH="$$PATH")

# Debian packages, as command:package, or the bare package if it brings no command.
NEEDS_demo := haproxy:haproxy pebble:pebble pebble-challtestsrv:pebble \
	avahi-daemon:avahi-daemon curl:curl
NEEDS_test := $(NEEDS_demo) python3-venv chromium:chromium certutil:libnss3-tools \
	fonts-dejavu-core iproute2 apparmor_parser:apparmor \
	mosquitto:mosquitto nft:nftables iperf3:iperf3 ssh:openssh-client \
	sshd:openssh-server php:php-cli ruby:ruby ruby-webrick node:nodejs
NEEDS_test-images := buildah:buildah debootstrap:debootstrap \
	debian-archive-keyring pebble:pebble \
	pebble-challtestsrv:pebble ip:iproute2 sysctl:procps \
	apparmor_parser:apparmor strace:strace
NEEDS_test-fresh := debootstrap:debootstrap debian-archive-keyring
NEEDS_pictures := rsvg-convert:librsvg2-bin fonts-dejavu-core
NEEDS_bench := haproxy:haproxy nginx:nginx wrk:wrk h2load:nghttp2-client curl:curl \
	ssh:openssh-client sshd:openssh-server

.PHONY: help demo check test test-fresh test-hass test-images test-long bench lint format \
	dist version pictures lock clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: need-demo .venv/.ready ## try Hearthgate on this machine; ONCE=1 checks it and ends
	$(AS_ROOT) $(BIN)/python -m tests.demo $(if $(ONCE),--once)

check: lint ## lint, types and unit tests, without root and in two minutes
	$(BIN)/python -m pytest $(SPREAD) tests/unit $(ARGS)

test: need-test lint ## lint, types and all tests; ARGS="-k name" narrows
	tests/tools/haproxy
	tests/tools/wheels $(BIN)/python
	$(AS_ROOT) $(BIN)/python -m pytest $(SPREAD) --cov \
		--cov-report=term:skip-covered --ignore=tests/hass --ignore=tests/long $(ARGS)

test-long: need-test test-fresh ## what takes an hour: fresh trees, long fuzzing, years
	tests/tools/haproxy
	$(AS_ROOT) $(BIN)/python -m pytest $(SPREAD) tests/long tests/fuzz \
		--hypothesis-profile=long --timeout=3600 $(ARGS)

test-hass: need-test .venv/.ready ## the tests with two real releases of Home Assistant
	$(AS_ROOT) tests/tools/hass $(BIN)/uv
	$(AS_ROOT) $(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart=0 tests/hass $(ARGS)

test-images: need-test-images .venv/.ready ## build both images, do the main job between them
	$(AS_ROOT) tests/images/run $(abspath $(BIN)/python) $(ARGS)

test-fresh: need-test-fresh .venv/.ready ## demo and check on a machine that has nothing; SUITES=trixie
	$(AS_ROOT) tests/fresh/run $(SUITES)

bench: need-bench .venv/.ready-bench ## measure the way of a byte; ARGS=--publish keeps the chart
	$(AS_ROOT) $(BIN)/python -m tests.bench $(ARGS)

lint: .venv/.ready ## ruff and mypy, without changing anything
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy

format: .venv/.ready ## let ruff mend and format what it can
	$(BIN)/ruff check --fix-only $(CODE)
	$(BIN)/ruff format $(CODE)

dist: .venv/.ready ## make the source package and the wheel, as a release does
	$(DIST) dist

version: ## set the version everywhere, as in make version VERSION=1.2.3
	tests/tools/set_version $(VERSION)

pictures: need-pictures ## draw the store's icon and logo from the page's icon
	tests/tools/store_pictures

lock: .venv/.locked ## lock the dependencies again; UPGRADE=1 takes the newest versions
	@for name in dev runtime bench; do tests/tools/lock $(BIN)/uv "$$name" $(if $(UPGRADE),--upgrade); done

clean: ## remove everything that make made here
	rm -rf .venv .work build dist htmlcov .coverage .coverage.* .mypy_cache .pytest_cache \
		.ruff_cache .hypothesis app/*.egg-info
	find $(CODE) -name __pycache__ -prune -exec rm -rf {} +

need-%:
	@tests/tools/need $(NEEDS_$*)

# Debian's Python can make a virtual environment only with python3-venv.
need-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Hearthgate needs Python 3.11 or newer; say make PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || tests/tools/need python3-venv

.venv/.locked: requirements/dev.txt | need-venv
	$(PYTHON) -m venv --clear .venv
	$(INSTALL) --require-hashes -r $<
	@touch $@

.venv/.ready: pyproject.toml .venv/.locked
	$(INSTALL) --no-build-isolation -e .
	@touch $@

.venv/.ready-bench: requirements/bench.txt .venv/.ready
	$(INSTALL) --require-hashes -r $<
	@touch $@
