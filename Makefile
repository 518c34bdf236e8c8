# make book · make pdf · make test · make lint · make bench · make clean
# make exercises: for a class, see book/teaching.md
# PRESET=smoke|laptop|frozen|paper, DATA=…, BENCH_OPTIONS=--tiny
PRESET ?= laptop
# The smoke preset only shows that everything runs: a fifth of the pictures will do.
DATA ?= $(if $(filter smoke,$(PRESET)),synthcars?images_per_model=8,synthcars)
PYTHON ?= python3
BIN := .venv/bin

# Torch hands freed memory back to the system at every step otherwise, and asks for it
# again; on a CPU that can cost more than the arithmetic.
export MALLOC_TRIM_THRESHOLD_ ?= 4000000000
export MALLOC_MMAP_THRESHOLD_ ?= 4000000000

.PHONY: book pdf test lint bench exercises clean
book: .venv/installed
	$(BIN)/qsel book --preset '$(PRESET)' --data '$(DATA)' $(BOOK_OPTIONS)

# The stored pages as one file, _build/qsel.pdf; Chromium prints it.
pdf: .venv/installed
	$(BIN)/qsel book --stored --pdf

test: .venv/installed
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

# Timings: about 15 minutes on two cores that do nothing else.
bench: .venv/installed
	$(BIN)/python -m benchmarks.selection $(BENCH_OPTIONS)

# The chapters' notebooks without solutions, in _build/exercises.
exercises: .venv/installed
	$(BIN)/qsel exercises

clean:
	rm -rf _build .venv

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with make PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "This Python cannot make environments; on Debian: apt install python3-venv"; \
	    exit 1; }
	@echo "Installing into .venv: about 7 GB, some minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[book,dev,experiments,faiss]'
	touch $@
