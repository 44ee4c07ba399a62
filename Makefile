# `make` prints this list. Environments, tools and clusters live outside the checkout (FINETUNE_CACHE, FINETUNE_STATE).
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# A member's environment is made on first use from its hashed lock; $(call in,NAME) is its bin folder.
in = $$(scripts/environment $(1))/bin
# `make test` leaves out what is marked deep, and `make test-deep` plays the rest (CONTRIBUTING: running tests).
DEEP = $(filter deep,$(FINETUNE_TESTS))
PLAYED = -m "$(if $(DEEP),(deep or part),not deep)$(1)"
REPORTS = build/reports$(if $(DEEP),/deep)
PYTEST = mkdir -p $(REPORTS) && $(2) $(call in,$(1))/python -m pytest --junitxml=$(REPORTS)/$@.xml --durations=5 \
  $(call PLAYED,$(3))
# Bytecode lies beside the environments: nothing is written to the sources, and no process compiles what another one
# has compiled. Nothing in a working folder can take the place of a module.
CACHE = $(or $(FINETUNE_CACHE),$(HOME)/.cache/finetune-operator)
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX = $(CACHE)/bytecode
export PYTHONSAFEPATH := 1

# Types take one core, integration waits half of its time, and the trainer's tests take a core as long as they last: what
# computes beside them takes what they leave, and no more, so that they wait no longer for it.
SUITES := lint types,integration+unit trainer-test+server-test+local-cluster-test,simulation,example-test
DEEP_SUITES := integration+unit,simulation trainer-test+server-test,local-cluster-test
IDLE := nice -n 19
ASYNC := -o asyncio_default_fixture_loop_scope=function
# Tests of the operator in processes side by side; those on a control plane mostly wait for its controllers.
BESIDE := --numprocesses=auto
WAITING := --numprocesses=4 --dist=worksteal
# An eighth of what control planes compute is the collection of garbage, where memory is as scarce as Go takes it to be.
ROOMY := GOGC=400 GOMEMLIMIT=600MiB
# What mypy knows of the libraries outlives a checkout, as the environments do.
MYPY = $(call in,$(1))/mypy --cache-dir=$(CACHE)/mypy/$(1)

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## make every environment and build the tools of the control plane, so that later targets start at once
	@for name in operator-dev server-dev trainer-dev example-dev; do scripts/environment $$name; done
	@local-cluster/cluster tools build etcd kube-apiserver kube-controller-manager kubectl helm promtool prometheus

.PHONY: test
test: setup ## everything that needs no node: all suites below, then one summary
	@scripts/suites $(REPORTS) $(SUITES)

.PHONY: test-deep
test-deep: export FINETUNE_TESTS := deep
test-deep: setup ## what `make test` leaves out: more sizes, seeds and combinations, and what cheaper tests hold as well
	@scripts/suites $(REPORTS) $(DEEP_SUITES)

.PHONY: lint
lint: ## style, layers, that generated files are fresh, that links lead somewhere
	$(call in,operator-dev)/ruff check .
	$(call in,operator-dev)/ruff format --check .
	PYTHONPATH=operator/src:trainer-image/src:serving-image/src:local-cluster/src \
	  $(call in,operator-dev)/lint-imports --no-logo --no-cache
	diff -r crds charts/finetune-operator/files/crds
	$(call in,operator-dev)/python scripts/reference --check
	$(call in,operator-dev)/python scripts/rights --check
	$(call in,operator-dev)/python scripts/contracts --check
	$(call in,operator-dev)/python scripts/schemas --check
	python3 scripts/pages

.PHONY: types
types: ## mypy --strict, every member in its own environment
	$(call MYPY,operator-dev) operator/src local-cluster/src demo/src tests/house tests/unit tests/simulation \
	  tests/integration tests/local_cluster tests/e2e tests/contract/test_operator_messages.py \
	  tests/contract/test_operator_contracts.py tests/contract/test_contracts.py
	$(call MYPY,trainer-dev) --config-file trainer-image/pyproject.toml trainer-image/src tests/trainer \
	  tests/benchmarks/yolo_predict.py tests/benchmarks/scan_100000.py tests/benchmarks/killed_training.py \
	  tests/contract/test_evaluator_fixture.py tests/contract/test_trainer_messages.py \
	  tests/contract/test_trainer_files.py tests/contract/test_trainer_contracts.py
	$(call MYPY,server-dev) --config-file serving-image/pyproject.toml serving-image/src tests/server \
	  tests/benchmarks/capture_overhead.py tests/benchmarks/server_soak.py tests/benchmarks/server_throughput.py \
	  tests/contract/test_server_fixture.py tests/contract/test_server_contracts.py
	$(call MYPY,example-dev) --config-file examples/invoices/pyproject.toml examples/invoices/src

.PHONY: unit
unit: ## the operator's pure parts, the agreement of CRDs, contracts and types, the chart
	$(call PYTEST,operator-dev,$(IDLE)) -W error $(ASYNC) $(BESIDE) tests/unit tests/contract/test_operator_messages.py \
	  tests/contract/test_operator_contracts.py tests/contract/test_contracts.py

.PHONY: simulation
simulation: ## crashes before and after every write of every story, in virtual time
	$(call PYTEST,operator-dev,$(IDLE)) -W error $(ASYNC) $(BESIDE) tests/simulation

.PHONY: integration
integration: ## CRDs, chart and operator on a real API server and controller manager
	$(call PYTEST,operator-dev,$(ROOMY)) $(ASYNC) $(WAITING) tests/integration

.PHONY: local-cluster-test
local-cluster-test: ## the local cluster's own tests, those that need no node
	$(call PYTEST,operator-dev,$(ROOMY), and not node) $(ASYNC) tests/local_cluster

.PHONY: example-test
example-test: ## the rendered invoices: deterministic, disjoint, boxes inside the page
	$(call PYTEST,example-dev,$(IDLE)) tests/examples

.PHONY: trainer-test
trainer-test: ## a real, tiny fine-tune, every trap of the trainer, the shared fixture
	$(call PYTEST,trainer-dev) tests/trainer tests/contract/test_evaluator_fixture.py \
	  tests/contract/test_trainer_messages.py tests/contract/test_trainer_files.py tests/contract/test_trainer_contracts.py

.PHONY: server-test
server-test: ## the server: digest, readiness, answers, drain, metrics, the shared fixture
	$(call PYTEST,server-dev) tests/server tests/contract/test_server_fixture.py tests/contract/test_server_contracts.py

.PHONY: demo
demo: ## the main job on this machine, from an untrained model to live and back (DEMO_CONTEXT, DEMO_REGISTRY: elsewhere)
	@PYTHONPATH=demo/src python3 -m finetune_demo up

.PHONY: demo-loop
demo-loop: ## the loop on this machine: people report, label, and the policy starts the run (variables as for demo)
	@PYTHONPATH=demo/src python3 -m finetune_demo loop

.PHONY: demo-clean
demo-clean: ## remove all that a demo left
	@PYTHONPATH=demo/src python3 -m finetune_demo clean

.PHONY: e2e
e2e: setup ## every story on the node cluster, with images baked from their Dockerfiles (STORY=name: one; ON_DEMO=mounted)
	$(call PYTEST,operator-dev) $(ASYNC) --capture=no tests/e2e $(if $(STORY),-k '$(STORY)') $(if $(ON_DEMO),--on-demo=$(ON_DEMO))

.PHONY: stories
stories: ## print the names for make e2e STORY=name
	@$(call in,operator-dev)/python -m pytest --collect-only --quiet $(ASYNC) tests/e2e | sed -n 's/^tests.*:://p'

.PHONY: bench
bench: bench-runs bench-pages bench-scan bench-kills bench-server bench-throughput bench-capture ## measure the operator, the trainer on many pages, then the server

.PHONY: bench-runs
bench-runs: setup ## measure the operator on a control plane without a node (BENCH="--runs 1000 --repeats 1")
	PYTHONPATH=tests:operator/src:local-cluster/src $(call in,operator-dev)/python -m benchmarks.runs_300 $(BENCH)

.PHONY: bench-pages
bench-pages: setup ## measure anchor index, pool add and prepare on 25,000 pages (PAGES="--pages 5000 --repeats 3")
	PYTHONPATH=tests:trainer-image/src $(call in,trainer-dev)/python -m benchmarks.pages_25000 $(PAGES)

.PHONY: bench-scan
bench-scan: setup ## measure a policy's first scan of 100,000 samples and as many captured pages in a bucket (SCAN="--samples 5000")
	PYTHONPATH=tests:trainer-image/src $(call in,trainer-dev)/python -m benchmarks.scan_100000 \
	  "$$(local-cluster/cluster tools build versitygw)" $(SCAN)

.PHONY: bench-kills
bench-kills: setup ## kill a training ten times at random, and compare its model with one that was left alone (KILLS="--kills 3")
	PYTHONPATH=tests:trainer-image/src $(call in,trainer-dev)/python -m benchmarks.killed_training $(KILLS)

.PHONY: bench-capture
bench-capture: setup ## measure what keeping every page costs an answer (CAPTURE="--rounds 1 --seconds 5")
	PYTHONPATH=local-cluster/src:tests:serving-image/src $(call in,server-dev)/python -m benchmarks.capture_overhead \
	  --trainer-python $(call in,trainer-dev)/python $(CAPTURE)

.PHONY: bench-server
bench-server: setup ## ten minutes of hostile pages among good ones on the server (SOAK="--minutes 2")
	PYTHONPATH=local-cluster/src:tests:serving-image/src $(call in,server-dev)/python -m benchmarks.server_soak $(SOAK)

.PHONY: bench-throughput
bench-throughput: setup ## the server's pages a second beside ultralytics' predict and a bare loop (THROUGHPUT="--rounds 1 --seconds 2")
	PYTHONPATH=local-cluster/src:tests:serving-image/src $(call in,server-dev)/python -m benchmarks.server_throughput \
	  --trainer-python $(call in,trainer-dev)/python $(THROUGHPUT)

.PHONY: format
format: ## format, sort imports, copy the CRDs into the chart, make the reference and the contracts' tables
	$(call in,operator-dev)/ruff check --fix --select I .
	$(call in,operator-dev)/ruff format .
	cp crds/*.yaml charts/finetune-operator/files/crds/
	$(call in,operator-dev)/python scripts/reference
	$(call in,operator-dev)/python scripts/rights
	$(call in,operator-dev)/python scripts/contracts
	$(call in,operator-dev)/python scripts/schemas

.PHONY: locks
locks: ## resolve requirements/*.txt anew (versions move only with --upgrade: make locks UPGRADE=--upgrade)
	scripts/locks $(UPGRADE)
