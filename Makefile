# The commands; what they do is in the packages.

CARGO ?= cargo
TARGET := x86_64-unknown-linux-gnu
BERTH_QEMU := $(CARGO) run --quiet -p berth-qemu --

.PHONY: run init guest image test qemu-test qemu-matrix setup

run: init
	@$(BERTH_QEMU) setup
	@$(BERTH_QEMU) run $(ARGS)

init:
	$(CARGO) build --release -p berth --bin berth
	@install -D -m 0755 target/release/berth target/init
	@echo "target/init: $$(stat -c %s target/init) bytes"

guest:
	RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --target $(TARGET) -p berth-guest
	@install -D -m 0755 target/$(TARGET)/debug/guest target/guest

image: init
	$(BERTH_QEMU) image

setup:
	@$(BERTH_QEMU) setup

qemu-test: setup init guest
	$(CARGO) test -p berth-tests

qemu-matrix: setup init guest
	BERTH_TEST_KERNELS=6.1,6.12,7 $(CARGO) test -p berth-tests
