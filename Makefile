# Every target sets up what it needs. `make help` lists them.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
BIN := $(VENV)/bin
SLURM_DIR ?= var/slurm
HUB5 := .venv-hub5
SETUP := setup.cfg pyproject.toml

.PHONY: help demo demo-check demo-slurm demo-kubernetes test test-kubernetes test-quick bench docs lint format clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

$(BIN)/.demo: $(SETUP)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(BIN)/.test: $(BIN)/.demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,test,lint,docs]'
	@touch $@

$(BIN)/.bench: $(BIN)/.demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,bench]'
	@touch $@

$(HUB5)/.installed: $(SETUP)
	$(PYTHON) -m venv $(HUB5)
	$(HUB5)/bin/python -m pip install --quiet --disable-pip-version-check 'jupyterhub==5.5.*' -e '.[test]'
	@touch $@

demo: $(BIN)/.demo  ## Start the example facility on http://127.0.0.1:8000 (PORT=8010 for another)
	@$(BIN)/python -m examples.demo --port $(PORT)

demo-check: $(BIN)/.demo  ## Log in, spawn, run the notebook and find the plot, without a browser
	@.ci/with-slurm $(BIN)/python -m examples.check

demo-slurm: $(BIN)/.demo  ## The same as demo, with a real Slurm on this machine (apt, root)
	@.ci/with-slurm --required $(BIN)/python -m examples.demo --port $(PORT)

demo-kubernetes: $(BIN)/.test  ## The same as demo, with a real Kubernetes on this machine (Go, apt, root)
	@.ci/with-kubernetes --required $(BIN)/python -m examples.demo --port $(PORT)

test: $(BIN)/.test $(HUB5)/.installed  ## All tests, with real Slurm and a real browser where possible
	@.ci/system-packages
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy panosc_hub
	$(BIN)/python -m pytest --ignore=tests/kubernetes
	@echo "Left out here: sessions on a real Kubernetes, which make test-kubernetes builds and tests"
	@echo "JupyterHub 5.5: the tests that touch the Hub once more"
	$(HUB5)/bin/python -m pytest tests/hub tests/unit tests/identity -m 'not slurm' -p no:cacheprovider
	JUPYTERHUB_SHARE=$(HUB5)/share/jupyterhub $(BIN)/python -m pytest tests/browser
	PANOSC_DEMO_HUB_PYTHON=$(abspath $(HUB5))/bin/python $(BIN)/python -m pytest \
	    tests/e2e/test_main_path.py -m 'not slurm' -p no:cacheprovider

test-kubernetes: $(BIN)/.test  ## Tests on a real Kubernetes: $$KUBECONFIG, or one built here (Go, apt, root)
	@.ci/system-packages kubernetes
	$(BIN)/python -m tests.kubernetes.cluster prepare
	$(BIN)/python -m pytest tests/kubernetes

test-quick: $(BIN)/.test  ## Only what needs no Hub, cluster or browser
	$(BIN)/python -m pytest tests/unit

bench: $(BIN)/.bench  ## Measure against the peers and write bench/results.json
	@$(BIN)/python -m bench

docs: $(BIN)/.test  ## Build the documentation into var/docs
	$(BIN)/python -m mkdocs build --strict --site-dir var/docs

lint: $(BIN)/.test  ## ruff and mypy
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy panosc_hub

format: $(BIN)/.test  ## Format the code
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean:  ## Remove everything that was made here
	rm -rf $(VENV) $(HUB5) var build dist *.egg-info test-results
	rm -rf examples/*/node_modules
