# make audit: the whole audit, from nothing to the book.   make test: the whole test suite.
# make test-processor, wheel, matrix, setup, tex, bench, lint, notebooks, clean: see below.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
RUN ?= runs/default
JOBS ?= 2
BIN := .venv/bin
TEX := latexmk texlive-xetex texlive-latex-extra texlive-fonts-recommended fonts-freefont-otf

.PHONY: audit test test-processor wheel matrix setup tex bench lint notebooks clean
.NOTPARALLEL:

# The findings do not fail this target (they are what it publishes); an audit that could not be carried out does.
audit: setup tex
	$(BIN)/coordexp-audit run --fail-on never --replace --out $(RUN) || [ $$? -eq 3 ]
	$(BIN)/coordexp-audit book $(RUN)

# Tests and notebooks, side by side on as many processes as there are cores, each of which computes on one thread: the
# small models are too small for two. A file's tests and a notebook's cells stay together, the longest files first.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder --nbval \
	  --nbval-current-env --nbval-sanitize-with notebooks/nbval_sanitize.cfg tests notebooks

# What a small model computes, once more on the plainest arithmetic that the processor has: no verdict may depend on which
# kernels it chose. That the findings don't, `make test` shows too.
test-processor: setup
	ATEN_CPU_CAPABILITY=default OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile -m model

# A wheel in an environment of its own, without the constraints: what `pip install` gives a stranger must work, with the
# newest transformers. torch alone is named: PyPI's newest is a CUDA build of several GB. What does not hold of that
# release is told; what could not be judged fails.
wheel:
	rm -rf build/wheel && mkdir -p build/wheel
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	build/wheel/venv/bin/python -m pip install --quiet torch==2.13.0
	build/wheel/venv/bin/python -m pip install --quiet build/wheel/*.whl
	cd build/wheel && env -u PYTHONPATH venv/bin/coordexp-audit check --target reference --fail-on never

# The library under several releases of Python, torch and transformers: `make matrix CELLS="5.0.0 3.13"`; all by default.
matrix:
	$(PYTHON) tools/matrix.py $(CELLS)

setup: .venv/made

.venv/made: pyproject.toml constraints.txt setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

# TeX is needed for the PDF alone: without it the book is HTML and .tex, and `coordexp-audit book` says what to install.
tex:
	@if command -v latexmk >/dev/null && command -v xelatex >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing TeX for the PDF (about a minute or two)" >&2; \
	  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $(TEX); } >/dev/null 2>&1 \
	  || echo "TeX could not be installed; the book will be HTML and .tex" >&2; \
	else echo "no TeX, and not root: the book will be HTML and .tex. For the PDF: apt-get install $(TEX)" >&2; fi

bench: setup  # reference_against_suite.py and live_against_suite.py want a checkout and its interpreter: run them by hand
	for name in run_against_empty guard_cost guard_cuda data_speed; do $(BIN)/python benchmarks/$$name.py || exit 1; done

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# After a change of a notebook, a check or the recording: the committed outputs are what nbval compares with.
notebooks: setup
	$(BIN)/python tools/execute_notebooks.py

clean:
	rm -rf runs out _build book/_build build *.egg-info .pytest_cache .mypy_cache .ruff_cache
