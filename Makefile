# Everything a fresh machine needs beyond Python 3.11+ and make is set up by these targets themselves.

SHELL := /bin/sh
VENV := .venv
RUN := $(VENV)/bin/python
FIND_PYTHON := for p in "$$PYTHON" python3.13 python3.12 python3.11 python3; do \
	  [ -n "$$p" ] && command -v $$p >/dev/null 2>&1 && $$p -c 'import sys,venv,ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	  && echo $$p && exit 0; done; \
	  echo "keyfob needs Python 3.11 or newer with its venv module (Debian: apt-get install python3-venv)" >&2; exit 1

.PHONY: help demo test check bench data lint types layers clients coverage clean

help:
	@echo "make demo    a program with a managed identity reads a secret, another is refused, and you see why"
	@echo "make test    the tests"
	@echo "make clients the suites of official clients: SDKs in five languages, az"
	@echo "make check   lint, format, types, layers, tests and client suites"
	@echo "make bench   the benchmarks, side by side with nginx and Go where they are on the machine"

$(VENV)/.made:
	@python=$$($(FIND_PYTHON)) && $$python -m venv $(VENV) && $(RUN) -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml
	@echo "setting up (once) …"
	@$(RUN) -m pip install --quiet -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	@echo "setting up (once) …"
	@$(RUN) -m pip install --quiet -e '.[demo,postgres]' --group dev --group clients
	@touch $@

demo: $(VENV)/.demo
	@$(VENV)/bin/keyfob demo

test: $(VENV)/.dev
	$(RUN) -m pytest tests -rs -m 'not clients'

clients: $(VENV)/.dev
	$(RUN) -m pytest tests -rs -m clients

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check src tests tools benchmarks examples
	$(VENV)/bin/ruff format --check src tests tools benchmarks examples

types: $(VENV)/.dev
	$(VENV)/bin/mypy

layers: $(VENV)/.dev
	$(VENV)/bin/lint-imports

check: lint types layers test clients

bench: $(VENV)/.dev
	$(RUN) benchmarks/run.py $(ARGS)

data: $(VENV)/.dev
	$(RUN) tools/make_data.py
	$(RUN) tools/coverage_page.py

clean:
	rm -rf $(VENV) .cache build dist
