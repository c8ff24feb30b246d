# The commands; what they do is in the packages, and in `.cargo/config.toml`.

CARGO ?= cargo
CARGO_TARGET_DIR ?= target
HOST := x86_64-unknown-linux-gnu
QEMU := $(CARGO) run --quiet -p berth-qemu --
GATES := $(CARGO) gates
TOOLS := -p berth-initramfs -p berth-qemu -p berth-guest -p berth-tests
MATRIX := 6.1,6.12,7
# The tools unwind on a panic, as the tests do. Otherwise their dependencies would be built twice.
export CARGO_PROFILE_DEV_PANIC := unwind

.PHONY: run init image test qemu-test qemu-matrix qemu-engines qemu-soak bench lint size docs help
.PHONY: cc setup guest reading

run: setup init ## boot the demo on this terminal; `ARGS='-append "…"'` adds kernel words
	@$(QEMU) run $(ARGS)

init: cc ## build the release programs: `target/init`, PID 1, and `target/berth`, the command
	$(CARGO) pid1
	$(CARGO) berth
	@install -D -m 0755 -t target $(CARGO_TARGET_DIR)/release/init $(CARGO_TARGET_DIR)/release/berth
	@stat -c '%n: %s bytes' target/init target/berth

image: init ## build the demo's initramfs: `target/initramfs.cpio`
	@$(CARGO) image

test: setup ## run the tests that need no virtual machine
	$(CARGO) test -p berth --lib
	$(CARGO) test -p berth --doc
	$(CARGO) test -p berth-initramfs
	$(CARGO) test -p berth-qemu --lib --bins --test ctl
	$(CARGO) test -p berth-tests --lib --bins
	$(CARGO) test -p berth-tests --test config

qemu-test: setup init guest ## run the command's tests and boot all virtual machines of the tests; `ARGS=name` only those
	$(CARGO) test -p berth-qemu --test machine
	$(CARGO) native $(ARGS)
	$(CARGO) vm $(ARGS)

qemu-matrix: setup init guest ## boot those of the matrix on the kernels 6.1, 6.12 and 7
	BERTH_TEST_KERNELS=$(MATRIX) BERTH_TEST_CONTAINERS=1000 $(CARGO) vm $(ARGS)

qemu-engines: setup init guest ## compare container engines with berth and with their usual runtime, in whole Debians
	$(CARGO) engines $(ARGS)

qemu-soak: setup init guest ## run months of a machine, and 200 power cuts; `BERTH_SOAK=0.05` a twentieth of it
	BERTH_SOAK=$${BERTH_SOAK:-1} $(CARGO) vm soak

bench: setup init guest reading ## count instructions, beside a C program that does the same, for `docs/figures.md`
	$(CARGO) bench --profile dev -p berth-tests --bench boot

lint: cc init ## check format, lints, layers, the programs, documentation, fuzz targets, aarch64
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path tests/fuzz/Cargo.toml --check
	CARGO_PROFILE_DEV_PANIC=abort $(CARGO) clippy -p berth --bins -- -D warnings
	$(CARGO) clippy -p berth --lib --tests -- -D warnings
	$(CARGO) clippy $(TOOLS) --all-targets -- -D warnings
	cd tests/fuzz && $(CARGO) clippy --quiet --release --target-dir $(abspath $(CARGO_TARGET_DIR))/fuzz -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" \
	    $(CARGO) doc --quiet --no-deps --document-private-items -p berth --lib
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --no-deps -p berth-initramfs -p berth-qemu -p berth-tests --lib
	$(CARGO) test --quiet -p berth --lib docs::
	@$(GATES) layers
	@$(GATES) visibility
	@$(GATES) comments
	@$(GATES) flags
	@$(GATES) binary target/init target/berth
	@$(GATES) aarch64
	@$(GATES) fuzz

size: image ## show the sizes of the programs and of the image
	@$(GATES) size target/init target/berth target/initramfs.cpio

docs: ## write the tables in `docs/` that are made from the code
	BERTH_WRITE_DOCS=1 $(CARGO) test --quiet -p berth --lib docs::tables

help: ## list these commands
	@sed -n 's/^\([a-z-]*\):.* ## /  \1\t/p' Makefile | expand -t 16

# What the builds themselves rely on: a C compiler links, makes the reference programs, and builds
# libFuzzer.
cc:
	@command -v cc >/dev/null && command -v c++ >/dev/null || \
	    { echo "this machine lacks a C compiler: install the packages gcc, g++ and libc6-dev" >&2; exit 1; }

setup: cc
	@$(QEMU) setup

guest: cc
	CARGO_PROFILE_DEV_PANIC=abort RUSTFLAGS="-C target-feature=+crt-static -C strip=debuginfo" \
	    $(CARGO) build --target $(HOST) -p berth-guest
	@install -s -D -m 0755 $(CARGO_TARGET_DIR)/$(HOST)/debug/guest target/guest

# As `init` is built, and what it is held against for speed.
reading: cc
	$(CARGO) reading
	@install -D -m 0755 -t target $(CARGO_TARGET_DIR)/release/reading
