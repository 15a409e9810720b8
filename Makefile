# The commands of the README. PRESET picks a preset of CMakePresets.json that builds in build/:
# `make test PRESET=dev` turns warnings into errors.
PRESET ?= default
JOBS ?= $(shell nproc)
CHANGED_SINCE ?=
SECONDS ?= 10

.PHONY: help build demo test bench bench-fusions bench-media format format-check lint sanitize fuzz clean

help:            ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

build:           ## Install what is missing and build the program: build/unbraid
	@scripts/setup.sh build
	@scripts/build.sh $(PRESET) $(JOBS)

demo: build      ## Train audio alone, visual alone, joint, auxiliary and DGL on the embedded data set
	@build/unbraid demo $(ARGS)

test:            ## Build everything and run the whole test suite
	@scripts/setup.sh build test
	@scripts/build.sh $(PRESET) $(JOBS) -DUNBRAID_BUILD_TESTS=ON -DUNBRAID_BUILD_EXAMPLES=ON \
		-DUNBRAID_BUILD_BENCHMARKS=ON
	@ctest --test-dir build --output-on-failure -j $(JOBS) $(ARGS)

bench:           ## Measure the training step beside the naive schedule
	@scripts/setup.sh build
	@scripts/build.sh $(PRESET) $(JOBS) -DUNBRAID_BUILD_BENCHMARKS=ON
	@build/unbraid_bench $(ARGS)

bench-fusions:   ## Measure what a DGL step spends in the fusion module, by fusion
	@scripts/setup.sh build
	@scripts/build.sh $(PRESET) $(JOBS) -DUNBRAID_BUILD_BENCHMARKS=ON
	@build/unbraid_fusion_bench $(ARGS)

bench-media:     ## Measure how fast media files become batches, beside a Python script
	@scripts/setup.sh build test
	@scripts/build.sh $(PRESET) $(JOBS) -DUNBRAID_BUILD_BENCHMARKS=ON
	@build/unbraid_media_bench $(ARGS)

format:          ## Format the sources
	@scripts/setup.sh lint
	@git ls-files '*.h' '*.cpp' | xargs clang-format -i

format-check:    ## Say which sources are not formatted
	@scripts/setup.sh lint
	@git ls-files '*.h' '*.cpp' | xargs clang-format --dry-run --Werror

lint:            ## Run clang-tidy; CHANGED_SINCE=<commit> looks at the files changed since
	@scripts/setup.sh build test lint
	@scripts/lint.sh $(JOBS) "$(CHANGED_SINCE)"

sanitize:        ## Run the quick tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@scripts/setup.sh build test
	@scripts/sanitize.sh $(JOBS)

fuzz:            ## Fuzz each reader of files for SECONDS (10)
	@scripts/setup.sh build lint
	@scripts/fuzz.sh $(JOBS) $(SECONDS)

clean:           ## Remove what was built
	rm -rf build build-asan build-tsan build-fuzz build-tidy
