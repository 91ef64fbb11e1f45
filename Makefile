# Two commands for a user: `make demo` and `make test`. `make check` is the
# quick part, for every commit.
GO ?= go
OUT := out
CACHE := $(OUT)/cache
STATICCHECK := $(GO) tool -modfile=tools.mod staticcheck
E2E := ./appliance/testbed ./appliance/testbed/faults

.PHONY: build check test demo bench bench-quick faults deps guest guest-userland clean

build: ; @mkdir -p $(OUT) && $(GO) build -o $(OUT)/bumpless ./appliance

# what Debian's packages bring: QEMU 10, tshark, iproute2
deps: ; @./appliance/testbed/install.sh

# the protection guest's kernel and initramfs, in out/cache
guest: deps ; @$(GO) run ./appliance/testbed/mkguest -cache $(CACHE)

# beside them a read-only image with Redis, PostgreSQL and a compiler out of
# Debian's packages, for the bench's loads: 100 MB to fetch, once
guest-userland: deps ; @$(GO) run ./appliance/testbed/mkguest -cache $(CACHE) -userland

# the main job on real guests: out/demo.json, out/demo.html
demo: guest build
	@$(GO) build -o $(OUT)/demo ./appliance/testbed/demo
	@$(OUT)/demo -out $(OUT) -binary $(OUT)/bumpless -cache $(CACHE)

# every load x link x method on real guests, ours against QEMU's own: hours.
# out/bench/migrate.json, out/bench/migrate.html; ONLY=LOADS/LINKS/METHODS for a
# part of it, RESUME=1 to go on with what is missing
bench: $(if $(filter -quick,$(BENCH)),guest,guest-userland) build
	@$(GO) build -o $(OUT)/migrate-bench ./appliance/testbed/bench
	@$(OUT)/migrate-bench -out $(OUT)/bench -binary $(OUT)/bumpless -cache $(CACHE) -only '$(ONLY)' -resume=$(or $(RESUME),0) $(BENCH)

# the part of it that takes about 5 minutes
bench-quick: ; @$(MAKE) --no-print-directory bench BENCH=-quick

# COUNT consecutive switchovers of a real guest, half of them with a fault in one
# of a move's phases: out/faults/faults.json. SEED orders the faults, RESUME=1 goes
# on where an earlier run ended, FAULTS=-quick takes each fault once
faults: guest build
	@$(GO) build -o $(OUT)/faults-harness ./appliance/testbed/faults
	@$(OUT)/faults-harness -out $(OUT)/faults -binary $(OUT)/bumpless -cache $(CACHE) -count $(or $(COUNT),200) -seed $(or $(SEED),1) -resume=$(or $(RESUME),0) $(FAULTS)

# format, vet, staticcheck, architecture, unit tests
check: deps
	@test -z "$$(gofmt -l .)" || { echo 'not formatted (run gofmt -w):'; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(STATICCHECK) ./...
	$(GO) test -skip '^TestE2E' ./...

# all of that, and whole appliances on real guests
test: check guest
	$(GO) test -p 1 -timeout 40m -run '^TestE2E' $(E2E)

clean: ; rm -rf $(OUT)
