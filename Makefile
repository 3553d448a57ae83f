# Every target sets up what it needs: an environment in .venv, made once (see .ci/setup).
# On Python 3.11 to 3.13, git, make and a package registry. Another interpreter: make book PYTHON=/path/to/python3.12

.DEFAULT_GOAL := help
.PHONY: help book site test mutants bench gpu lock outputs address setup clean

CHAPTER ?=
BUDGET ?= 20
TABLES ?= foundations/bases contrastive_crop/table1_cifar10 lewel/controls
URL ?=
BRANCH ?=
PYTHON ?=
run := .venv/bin/python -m
# workers of pytest: the cores there are, at most 8, since each loads PyTorch
cores := $(shell n=$$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN || echo 2); [ $$n -lt 8 ] && echo $$n || echo 8)

help:
	@echo "make book                 run every chapter (smoke) and build the book from these runs"
	@echo "make site                 build the book from the committed outputs, executing nothing"
	@echo "make test                 lint, tests, all notebooks, the book with warnings as errors"
	@echo "make mutants              plant small faults one by one: a named fast test must catch each"
	@echo "make bench                our speed against torchvision's and lightly's, in one run; writes a record"
	@echo "make gpu                  on a CUDA GPU: correctness against the CPU, speed, then the full table, resumable"
	@echo "make outputs CHAPTER=...  run chapters (all, if none is named) with teach, renew their committed outputs"
	@echo "make address URL=...      move the repository's address in badges, set-up cells and pages [BRANCH=...]"
	@echo "make lock                 compile requirements.lock again from pyproject.toml (needs uv)"
	@echo "make setup                only make the environment, which all of the above do when it is missing"
	@echo "make clean                remove what was built: _build, outputs"

setup:
	@PYTHON="$(PYTHON)" .ci/setup

book: setup
	@$(run) partwhole.book.build book

site: setup
	@$(run) partwhole.book.build site

test: setup
	@echo "test 1/4: lint"
	@$(run) ruff check .
	@echo "test 2/4: library and structure"
	@OMP_NUM_THREADS=1 PARTWHOLE_PRESET=smoke $(run) pytest -q -n $(cores) --dist loadfile tests
	@echo "test 3/4: notebooks"
	@OMP_NUM_THREADS=1 PARTWHOLE_PRESET=smoke $(run) pytest -q -n $(cores) --dist loadscope \
		--nbval-lax --nbval-current-env --nbval-cell-timeout 300 notebooks
	@echo "test 4/4: book"
	@$(run) partwhole.book.build check

mutants: setup
	@.venv/bin/python tests/mutants/run.py

bench: setup
	@$(run) partwhole.bench

gpu: setup
	@$(run) pytest -q -m gpu tests
	@$(run) partwhole.bench --device cuda
	@for table in $(TABLES); do $(run) partwhole reproduce $$table --scale full --device cuda --budget $(BUDGET) || exit 1; done

outputs: setup
	@$(run) partwhole.book.chapters outputs $(CHAPTER)

address: setup
	@$(run) partwhole.book.address $(URL) $(BRANCH)

lock:
	@command -v uv >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv"; exit 2; }
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra book --extra test pyproject.toml -o requirements.lock

clean:
	rm -rf _build outputs
