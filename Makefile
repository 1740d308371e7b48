# `make` alone says what there is to make.

GOLANGCI_LINT_VERSION := v2.15.0

CACHE    := $(or $(OFFLINE_TEST_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/offline-nodes)
GOLANGCI := $(CACHE)/bin/golangci-lint-$(GOLANGCI_LINT_VERSION)
SERVERS  := go run ./test/testkit/cmd/servers

# The race detector, per group of packages: the core (pure logic and one server each), the flow (everything joined), and
# those whose tests live through many hours of fake time or millions of documents: there it takes ten times as long.
# `make test RACE_FLOW=` is quicker, `make test RACE_LONG=-race` thorough.
RACE_CORE ?= -race
RACE_FLOW ?= -race
RACE_LONG ?=
# What else `go test` is given, as in `make test GOTEST='-run Drain -v'`.
GOTEST    ?=

# The tag makes franz-go usable inside testing/synctest.
TAGS := -tags synctests
LIST  = $(shell go list $(TAGS) $(1) 2>/dev/null)
LONG := ./pkg/kafkaqueue/... ./pkg/shard/... ./test/sim/...
FLOW  = $(filter-out $(call LIST,$(LONG)),$(call LIST,./cmd/... ./internal/... ./pkg/node/... ./pkg/client/... ./pkg/datanode/... ./test/...))
CORE  = $(filter-out $(FLOW) $(call LIST,$(LONG)),$(call LIST,./...))
# How long one package may take on a machine that has other things to do.
TIMEOUT := -timeout 20m

.DEFAULT_GOAL := help

.PHONY: help
help: ## says what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## builds the programs into bin/
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/...

.PHONY: test
test: export RACE := $(RACE_CORE)$(RACE_FLOW)$(RACE_LONG)
test: deps ## runs all tests on real servers, which it installs and starts itself (NO_INSTALL=1: only says what is missing)
	$(SERVERS) $(MAKE) --no-print-directory --keep-going test-core test-long test-flow test-bench

.PHONY: test-core
test-core: # packages that are pure logic or know one server
	go test $(TAGS) $(TIMEOUT) $(RACE_CORE) $(GOTEST) $(CORE)

.PHONY: test-long
test-long: # packages with long tests
	go test $(TAGS) $(TIMEOUT) $(RACE_LONG) $(GOTEST) $(LONG)

.PHONY: test-flow
test-flow: # packages that join the others
	go test $(TAGS) $(TIMEOUT) $(RACE_FLOW) $(GOTEST) $(FLOW)

.PHONY: test-bench
test-bench: # the module that measures, without measuring
	cd bench && go test $(GOTEST) ./...

.PHONY: test-short
test-short: ## runs the tests that need nothing but Go
	@echo 'Tests with real servers are left out; `make test` runs them.'
	go test $(TAGS) -short $(GOTEST) ./...
	cd bench && go test $(GOTEST) ./...

SEEDS ?= 200
SEED  ?= 1
SIM_AUDIT ?= bin/histories.json
.PHONY: sim
sim: ## plays random histories of faults in fake time, on all cores (SEEDS=200, SEED=1: the first; SIM_AUDIT=file)
	@mkdir -p $(dir $(SIM_AUDIT))
	go test $(TAGS) -count 1 -v -timeout 0 -run TestRandomHistories ./test/sim -args -seeds $(SEEDS) -seed $(SEED) -audit $(abspath $(SIM_AUDIT))

MINUTES ?= 5
SOAK_AUDIT ?= bin/soak.json
.PHONY: soak
soak: deps ## breaks a whole system at random under load, then audits all of it (MINUTES=5, SOAK_AUDIT=file)
	@mkdir -p $(dir $(SOAK_AUDIT))
	SOAK=$(MINUTES) SOAK_AUDIT=$(abspath $(SOAK_AUDIT)) go test $(TAGS) -timeout 0 -v -count 1 -run TestSoak $(GOTEST) ./test/faults

# IMAGES=local takes the images that `make images` made; without it, the usual public ones are to be there already.
ifeq ($(IMAGES),local)
export OFFLINE_TEST_IMAGE_KAFKA ?= offline-nodes/kafka:local
export OFFLINE_TEST_IMAGE_REDIS ?= offline-nodes/redis:local
export OFFLINE_TEST_IMAGE_S3    ?= offline-nodes/s3:local
export KAFKA_IMAGE   ?= offline-nodes/kafka:local
export REDIS_IMAGE   ?= offline-nodes/redis:local
export S3_IMAGE      ?= offline-nodes/s3:local
export OFFLINE_IMAGE ?= offline-nodes/offline-nodes:local
endif
COMPOSE := docker compose -f compose/compose.yml

COUNT    ?= 3
PARALLEL ?= 3
ROWS     ?=
.PHONY: faults
faults: deps ## breaks real processes and servers, row by row of the fault matrix, and writes docs/faults.md (COUNT=3, ROWS=13,14)
	$(SERVERS) go run ./test/faults/cmd/faults -count $(COUNT) -parallel $(PARALLEL) -rows '$(ROWS)'

.PHONY: model
model: deps ## searches the protocol's models, the long ones too (minutes)
	MODEL_LONG=1 go test -count 1 -v $(GOTEST) ./test/model

.PHONY: mutants
mutants: deps ## breaks every rule of the protocol, wants the tests to notice, and writes docs/mutants.md
	$(SERVERS) go run ./test/mutants -out docs/mutants.md

.PHONY: test-docker
test-docker: export RACE := $(RACE_CORE)$(RACE_FLOW)$(RACE_LONG)
test-docker: deps ## runs the tests on servers in containers (IMAGES=local: those that `make images` made)
	OFFLINE_TEST_SERVERS=docker $(SERVERS) $(MAKE) --no-print-directory --keep-going test-core test-long test-flow

.PHONY: images
images: deps build ## makes images of the servers and of our programs without a registry (needs root and debootstrap)
	test/docker-images.sh

.PHONY: up
up: ## starts the whole system with Docker Compose (IMAGES=local: from `make images`; ARGS='--scale offline-node=4')
	$(COMPOSE) up --detach --wait $(if $(IMAGES),--no-build kafka redis s3 offline-node data-node,--build) $(ARGS)

.PHONY: down
down: ## stops what `make up` started and removes its data
	$(COMPOSE) --profile tools down --volumes

.PHONY: lint
lint: $(GOLANGCI) ## checks the code with golangci-lint, which it builds once
	$(GOLANGCI) run ./...
	cd bench && $(GOLANGCI) run ./...

.PHONY: fmt
fmt: $(GOLANGCI) ## formats the code as lint wants it
	$(GOLANGCI) fmt ./...
	cd bench && $(GOLANGCI) fmt ./...

$(GOLANGCI):
	@echo 'Building golangci-lint $(GOLANGCI_LINT_VERSION), once: this takes some minutes.'
	GOFLAGS= GOBIN=$(CACHE)/build go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	@mkdir -p $(@D) && mv $(CACHE)/build/golangci-lint $@

# One or more scenarios, as in `make bench SCENARIO=1,3`; all take some two hours. PROFILE=1 keeps CPU profiles of the
# workers in bench/profiles.
BENCHING = cd bench && go run . $(if $(PROFILE),--profiles profiles)
.PHONY: bench
bench: deps bench-deps ## measures us beside asynq and River and writes docs/benchmarks.md (SCENARIO=n: one; PROFILE=1)
	$(BENCHING) --run '$(SCENARIO)'

.PHONY: bench-quick
bench-quick: deps bench-deps ## says in minutes what has changed since bench/baseline.json by more than the noise
	$(BENCHING) --quick --run 1,2,5 --baseline baseline.json

.PHONY: bench-deps
bench-deps: # what only the comparison needs
	@bench/deps.sh

# A pattern, and how long each benchmark runs: `make bench-go BENCH=Claim BENCHTIME=1x`.
BENCH     ?= .
BENCHTIME ?= 1s
.PHONY: bench-go
bench-go: deps ## runs the Go benchmarks on real servers (BENCH=pattern, BENCHTIME=1s)
	$(SERVERS) go test $(TAGS) -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem $(GOTEST) ./...

.PHONY: demo
demo: build ## shows the main job with all servers embedded, or on KAFKA=, REDIS= and S3= (more flags: ARGS=)
	@bin/offline-node demo $(if $(KAFKA),--kafka '$(KAFKA)') $(if $(REDIS),--redis '$(REDIS)') $(if $(S3),--s3 '$(S3)') $(ARGS)

.PHONY: servers
servers: deps ## starts Kafka, Redis and S3 and prints where they are, until Ctrl-C
	$(SERVERS)

.PHONY: deps
deps: ## installs what tests with real servers need (NO_INSTALL=1: only says what is missing)
	@test/deps.sh

.PHONY: clean
clean: ## removes what was built here
	rm -rf bin

.PHONY: clean-cache
clean-cache: ## removes the servers and tools in the user's cache folder, which all checkouts share
	rm -rf $(CACHE)
