# Go and make are enough to build, run and check. `make test` installs what else the
# tests need.

GO ?= go
export GO

# Debian installs nginx in a directory that is on the PATH of root only.
export PATH := $(PATH):/usr/sbin

FUZZTIME ?= 30s
TIME ?= 1h
SEED ?= 0
export SEED
BENCH ?= .
COUNT ?= 1

# Written into the program. Without a git repository or a tag, the Go tool decides.
VERSION := $(shell git describe --tags --dirty 2>/dev/null)
COMMIT := $(shell git rev-parse HEAD 2>/dev/null)
DATE := $(shell TZ=UTC0 git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null)
LDFLAGS := -X main.buildVersion=$(VERSION) -X main.buildCommit=$(COMMIT) -X main.buildDate=$(DATE)

# nginx's nchan module, which bench compares with, has a package in Debian only.
NCHAN := $(if $(shell command -v apt-get),nchan)

# A test lets systemd check its unit. Only Linux distributions have it.
SYSTEMD := $(if $(shell command -v apt-get || command -v dnf),systemd-analyze)

.PHONY: help
help: ## List the targets.
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile | expand -t 17

.PHONY: build
build: ## Build bin/tidemark.
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/tidemark ./cmd/tidemark

.PHONY: run
run: build ## Build, and start a node with the embedded log in ./tidemark-data.
	./bin/tidemark serve --log-format=text

.PHONY: check
check: ## Check formatting, code and language, and run the fast tests. Needs Go alone.
	scripts/check

.PHONY: lint
lint: ## The part of check without the fast tests: gofmt, vet, staticcheck, language, structure.
	scripts/lint

.PHONY: test
test: ## Install what the tests need and run all of them. REQUIRE=all fails for skipped ones.
	scripts/need --optional cc redis-server faketime nginx haproxy caddy openssl promtool $(SYSTEMD) $(NCHAN) chromium curl node npm ip
	scripts/newer-redis --optional
	scripts/test

.PHONY: fault
fault: ## Break nodes, Redis and network, and attack a node, for about 40 minutes; SEED=n repeats a run.
	scripts/need redis-server faketime nginx
	scripts/fault

.PHONY: soak
soak: ## Mix faults on each kind of Redis, for TIME in total; SEED=n repeats a run.
	scripts/need redis-server faketime nginx
	$(GO) test -count=1 -timeout=0 -v -run=Mixed ./tests/fault -fault.soak=$(TIME) -fault.seed=$(SEED)

.PHONY: bench
bench: build ## Measure Tidemark and its peers, for about 20 minutes.
	scripts/need redis-server nginx nchan node npm
	scripts/bench

.PHONY: compare
compare: build ## Count what clients of Tidemark and its peers miss when something fails.
	scripts/need redis-server nginx nchan node npm
	cd bench && $(GO) run . recovery -module .. -document ../docs/comparison.md

.PHONY: microbench
microbench: ## Run the Go benchmarks that BENCH matches, COUNT times.
	scripts/need redis-server
	$(GO) test -run='^$$' -bench='$(BENCH)' -benchmem -count=$(COUNT) ./...

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME.
	scripts/fuzz $(FUZZTIME)

.PHONY: cross
cross: ## Compile the program for each system of a release.
	scripts/cross

.PHONY: clean
clean: ## Remove what was built. Data are kept.
	rm -rf bin dist
