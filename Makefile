# Two commands for a user: `make demo` and `make test`. `make check` is the
# quick part, for every commit.
GO ?= go
OUT := out
STATICCHECK := $(GO) tool -modfile=tools.mod staticcheck

.PHONY: build check test demo deps clean

build: ; @mkdir -p $(OUT) && $(GO) build -o $(OUT)/bumpless ./appliance

# format, vet, staticcheck, architecture, unit tests
check:
	@test -z "$$(gofmt -l .)" || { echo 'not formatted (run gofmt -w):'; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(STATICCHECK) ./...
	$(GO) test -short ./...

test: check
	$(GO) test -timeout 40m ./...

clean: ; rm -rf $(OUT)
