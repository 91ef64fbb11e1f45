# Two commands for a user: `make demo` and `make test`. `make check` is the
# quick part, for every commit.
GO ?= go
OUT := out
CACHE := $(OUT)/cache
STATICCHECK := $(GO) tool -modfile=tools.mod staticcheck
E2E := ./appliance/testbed

.PHONY: build check test demo deps guest clean

build: ; @mkdir -p $(OUT) && $(GO) build -o $(OUT)/bumpless ./appliance

# what Debian's packages bring: QEMU 10, tshark, iproute2
deps: ; @./appliance/testbed/install.sh

# the protection guest's kernel and initramfs, in out/cache
guest: deps ; @$(GO) run ./appliance/testbed/mkguest -cache $(CACHE)

# the main job on real guests: out/demo.json, out/demo.html
demo: guest build
	@$(GO) build -o $(OUT)/demo ./appliance/testbed/demo
	@$(OUT)/demo -out $(OUT) -binary $(OUT)/bumpless -cache $(CACHE)

# format, vet, staticcheck, architecture, unit tests
check: deps
	@test -z "$$(gofmt -l .)" || { echo 'not formatted (run gofmt -w):'; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(STATICCHECK) ./...
	$(GO) test -skip '^TestE2E' ./...

# all of that, and whole appliances on real guests
test: check guest
	$(GO) test -timeout 40m -run '^TestE2E' $(E2E)

clean: ; rm -rf $(OUT)
