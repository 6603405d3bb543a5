# Everything that a person or a CI needs. "make help" lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO ?= go
# What setup builds stands here and is found first.
export PATH := $(CURDIR)/.tools/bin:$(PATH)

.PHONY: help setup build demo test lint fmt clean topology simulate drills fuzz test-moto test-runbooks tflint

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## find or install what is missing: PostgreSQL, Terraform, the AWS provider
	@scripts/setup.sh

build: ## bin/holdfast and bin/payd
	@mkdir -p bin
	$(GO) build -o bin/ ./cmd/holdfast ./cmd/payd

demo: ## set up, build, and lose a region: a drill at ten times the speed, with its verdict
	@scripts/setup.sh postgresql
	@$(MAKE) build
	bin/holdfast drill --speed 10

test: ## everything: unit, simulation, twin, terraform, lint (STAGES="unit lint" runs some)
	@scripts/test.sh $(STAGES)

SIMULATE_RUNS ?= 100000

simulate: ## the failover protocol under faults, 100,000 times in virtual time (SIMULATE_RUNS, SIMULATE_FLAGS)
	@mkdir -p bin
	$(GO) build -o bin/ ./cmd/holdfast
	bin/holdfast simulate --runs $(SIMULATE_RUNS) $(SIMULATE_FLAGS)

drills: build ## every drill five times, and docs/drills.md (about two hours; an interrupted run goes on where it ended)
	bin/holdfast drill --all --speed 10 --repeat 5 --report docs/drills.md
	bin/holdfast drill --fault region-loss,switchover --speed 1 --repeat 5 --report docs/drills.md

test-moto: ## the Terraform against moto_server, which must be installed (pip install 'moto[server]')
	@scripts/test-moto.sh

test-runbooks: ## every runbook typed at a twin with the stock aws command, which must be installed (pip install awscli)
	@scripts/test-runbooks.sh

FUZZ_TIME ?= 30s

fuzz: ## random bytes and damaged real requests at the twin's AWS endpoint for a minute (FUZZ_TIME for each half)
	$(GO) test -run '^$$' -fuzz '^FuzzEndpoint$$' -fuzztime $(FUZZ_TIME) ./internal/twin/api
	$(GO) test -run '^$$' -fuzz '^FuzzConnection$$' -fuzztime $(FUZZ_TIME) ./internal/twin/api

lint: ## gofumpt, vet, staticcheck, shellcheck and tflint where installed, terraform fmt
	@scripts/lint.sh

tflint: ## build tflint from source (about ten minutes, once); "make lint" uses it when it is there
	@scripts/setup.sh tflint

fmt: ## format Go and Terraform
	$(GO) tool gofumpt -w $$(git ls-files '*.go')
	scripts/terraform fmt -recursive infra

topology: ## render infra/ into the embedded default topology, without AWS
	@scripts/setup.sh terraform
	$(GO) run ./internal/topology/render/cmd -terraform $(CURDIR)/scripts/terraform

clean: ## remove what was built, and with it the tools that setup built
	rm -rf bin .tools drill-results infra/.terraform
