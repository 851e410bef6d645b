# Go and make are all that this needs; `make test` gets the rest.

GO ?= go
export GO

# Debian keeps nginx where only root looks.
export PATH := $(PATH):/usr/sbin

FUZZTIME ?= 30s
TIME ?= 1h
SEED ?= 0
export SEED
BENCH ?= .
COUNT ?= 1

# bench's tests take nchan along where the system has a package of it.
NCHAN := $(if $(shell command -v apt-get),nchan)

# systemd judges its unit, where the system can have it.
SYSTEMD := $(if $(shell command -v apt-get || command -v dnf),systemd-analyze)

.PHONY: help
help: ## Say what there is.
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile | expand -t 17

.PHONY: build
build: ## Build bin/tidemark.
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/tidemark ./cmd/tidemark

.PHONY: run
run: build ## Build, and serve from the embedded log in ./tidemark-data.
	./bin/tidemark serve --log-format=text

.PHONY: test
test: ## Get what the tests need, run them all, say which Redis they used.
	scripts/need cc redis-server faketime nginx haproxy caddy openssl promtool $(SYSTEMD) $(NCHAN) chromium curl node npm ip
	scripts/newer-redis
	scripts/test

.PHONY: fault
fault: ## Break everything around the nodes, for some 25 minutes; SEED=n repeats a run.
	scripts/need redis-server faketime nginx
	scripts/fault

.PHONY: soak
soak: ## Mixed faults on each shape of Redis, for TIME together; SEED=n repeats a run.
	scripts/need redis-server faketime nginx
	$(GO) test -count=1 -timeout=0 -v -run=Mixed ./tests/fault -fault.soak=$(TIME) -fault.seed=$(SEED)

.PHONY: lint
lint: ## gofmt, go vet, staticcheck.
	scripts/lint

.PHONY: bench
bench: build ## Measure Tidemark beside its peers, for some 20 minutes.
	scripts/need redis-server nginx nchan node npm
	scripts/bench

.PHONY: microbench
microbench: ## Run the Go benchmarks that BENCH matches, COUNT times.
	scripts/need redis-server
	$(GO) test -run='^$$' -bench='$(BENCH)' -benchmem -count=$(COUNT) ./...

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME.
	scripts/fuzz $(FUZZTIME)

.PHONY: clean
clean: ## Remove what was built. The data stay.
	rm -rf bin
