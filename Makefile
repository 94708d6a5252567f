# Everything that a developer runs. Each virtual environment is made at first use and again when pyproject.toml changes.

PYTHON ?= python3
TORCH ?= torch==2.14.1 torchvision==0.29.1
DATA ?= data
PACK ?= data/pack
RUN ?= runs/latest
GUIDE ?= runs/guide
JUDGES ?= judges
SEEN := cotam,cotam:human,jpeg,webp,avif
TEACHER ?= clip:ViT-B-16/openai
FUZZ_SECONDS ?= 600
ARGS ?=

VENV := .venv
DEMO := .venv-demo
WORKSHOP := .venv-torch
FUZZ := .venv-fuzz
MIN := .venv-min
PIP := -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test test-torch test-min lint audit matrix attacks fuzz golden reference
.PHONY: train export eval bench bench-report evidence guide ablate clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(DEMO)/ready ## Install cotam, encode a picture at three qualities and decode it into demo/
	COTAM=$(DEMO)/bin/cotam PYTHON=$(DEMO)/bin/python examples/demo.sh demo

test: $(VENV)/ready ## Run the tests (PyTest options: ARGS="-k header")
	$(VENV)/bin/pytest $(ARGS)

lint: $(VENV)/ready ## Check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

test-min: $(MIN)/ready ## Run the tests with the lowest versions of dependencies that pyproject.toml allows
	$(MIN)/bin/pytest $(ARGS)

audit: $(VENV)/ready $(MIN)/ready ## Look up known vulnerabilities of the newest and the lowest versions allowed
	$(VENV)/bin/python $(PIP) pip-audit
	$(VENV)/bin/python .ci/audit.py $(VENV) $(MIN) -- $(ARGS)

matrix: $(VENV)/ready ## Decode the golden files on all releases, kernels and settings: docs/exactness.md
	$(VENV)/bin/python benchmarks/exactness.py $(ARGS)

attacks: $(VENV)/ready ## Try every known way to abuse the format, each with time and memory
	$(VENV)/bin/python attacks/run.py $(ARGS)

fuzz: $(FUZZ)/ready ## Fuzz header, map, screen layer, entropy decoding and the whole decoder for FUZZ_SECONDS in all
	for target in header map entropy screen decode; do \
	    OPENBLAS_NUM_THREADS=1 COTAM_THREADS=1 $(FUZZ)/bin/python fuzz/fuzz.py $$target .fuzz/$$target \
	        -max_total_time=$$(($(FUZZ_SECONDS) / 5)) -timeout=20 -rss_limit_mb=1024 -max_len=4096 \
	        -artifact_prefix=.fuzz/$$target- -print_final_stats=1 || exit 1; done

golden: $(VENV)/ready ## Write the golden files anew, after a new model or a deliberate change of coded bytes
	$(VENV)/bin/python tests/make_golden.py

reference: $(VENV)/ready ## Write docs/cli.md anew, after a change of options
	$(VENV)/bin/python tests/make_reference.py

bench: $(VENV)/ready ## Measure speed and memory, then compare codecs
	$(VENV)/bin/python benchmarks/speed.py
	$(MAKE) --no-print-directory bench-report

bench-report: $(VENV)/ready ## Compare codecs on benchmarks/pictures; goes on where it was cut off
	$(VENV)/bin/cotam bench benchmarks/pictures --force --cache .bench-cache --json benchmarks/report.json \
	    --plot benchmarks/report.svg --report benchmarks/report.html $(ARGS)

# The names of the contracts in JUDGES are docs/bench.md's; a set of pictures gets the judges that its files allow.
evidence: $(VENV)/ready ## What vision models still see at equal bytes: DATA's folders class, photo, text; contracts in JUDGES
	mkdir -p $(RUN)/evidence
	for set in class photo; do $(VENV)/bin/cotam bench $(DATA)/$$set --force --codecs $(SEEN) $(ARGS) \
	    --tasks "$$(ls $(JUDGES)/*.json | paste -sd, -)" --json $(RUN)/evidence/$$set.json || exit 1; done
	$(VENV)/bin/cotam bench $(DATA)/text --force --codecs $(SEEN) $(ARGS) --tasks ocr --json $(RUN)/evidence/text.json
	$(VENV)/bin/python benchmarks/evidence.py $(RUN)/evidence/*.json > $(RUN)/evidence/evidence.md
	cat $(RUN)/evidence/evidence.md

test-torch: $(WORKSHOP)/ready ## Run the tests beside PyTorch, CompressAI and open_clip, those of the training code too
	$(WORKSHOP)/bin/pytest $(ARGS)

train: $(WORKSHOP)/ready ## Train on the pictures of the folder DATA, or go on with the run in RUN
	test -e $(PACK)/index.json || $(WORKSHOP)/bin/python -m cotam_cli.training pack $(DATA) $(PACK)
	$(WORKSHOP)/bin/python -m cotam_cli.training train --pack $(PACK) --out $(RUN) $(ARGS)

# From the packed state, which is kept: a float32 state gives other files, and no adapter trained on the packed one fits them.
export: $(WORKSHOP)/ready ## Pack the state of the run in RUN and turn it into model files (ARGS="--id 7")
	$(WORKSHOP)/bin/python -m cotam_cli.training state $(RUN) $(RUN)/training-state.pt
	$(WORKSHOP)/bin/python -m cotam_cli.training export --state $(RUN)/training-state.pt --pack $(PACK) --models models $(ARGS)

eval: $(WORKSHOP)/ready ## Measure the newest model on DATA, a folder with one folder for each set of pictures
	$(WORKSHOP)/bin/python -m cotam_cli.training eval --data $(DATA) --out $(RUN)/eval $(ARGS)

guide: $(WORKSHOP)/ready ## Distil an embedded guide from TEACHER (an open_clip tower or a ViT's ONNX file) into GUIDE
	$(WORKSHOP)/bin/python -m cotam_cli.training guide ask --pack $(PACK) --teacher $(TEACHER) $(ARGS) $(GUIDE)/answers
	$(WORKSHOP)/bin/python -m cotam_cli.training guide train --shards $(GUIDE)/answers --out $(GUIDE)
	$(WORKSHOP)/bin/python -m cotam_cli.training guide test --shards $(GUIDE)/answers --run $(GUIDE)

ablate: $(WORKSHOP)/ready ## Measure maps against none on DATA at equal bytes (ARGS: judges and candidates, see docs/guidance.md)
	$(WORKSHOP)/bin/python -m cotam_cli.training guide ablate --data $(DATA) --out $(GUIDE)/ablation $(ARGS)

clean: ## Remove the virtual environments and what was built
	rm -rf $(VENV) $(DEMO) $(WORKSHOP) $(FUZZ) $(MIN) .fuzz .matrix .bench-cache demo dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(PIP) --upgrade "pip>=25.1"
	$(VENV)/bin/python $(PIP) --editable ".[bench,gateway]" --group dev
	touch $@

# A plain install, as a user gets it: made anew when a source or model file changes.
$(DEMO)/ready: pyproject.toml README.md $(shell find src models -type f -not -name '*.pyc')
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python $(PIP) --upgrade "pip>=25.1"
	$(DEMO)/bin/python $(PIP) .
	touch $@

# torch and torchvision first and by number: their newest releases do not always fit each other.
$(WORKSHOP)/ready: pyproject.toml
	$(PYTHON) -m venv $(WORKSHOP)
	$(WORKSHOP)/bin/python $(PIP) --upgrade "pip>=25.1"
	$(WORKSHOP)/bin/python $(PIP) $(TORCH)
	$(WORKSHOP)/bin/python $(PIP) --editable ".[bench,gateway,torch]" --group dev
	touch $@

# atheris has wheels for x86-64 Linux, Python 3.11 to 3.13.
$(FUZZ)/ready: pyproject.toml
	$(PYTHON) -m venv $(FUZZ)
	$(FUZZ)/bin/python $(PIP) --upgrade "pip>=25.1"
	$(FUZZ)/bin/python $(PIP) atheris --editable .
	touch $@

# Needs a Python that the lowest NumPy has wheels for: up to 3.12. Cleared, as newer versions that fit would stay.
$(MIN)/ready: pyproject.toml
	$(PYTHON) -m venv --clear $(MIN)
	$(MIN)/bin/python $(PIP) "uv>=0.8"
	VIRTUAL_ENV=$(MIN) $(MIN)/bin/uv pip install --quiet --resolution lowest-direct --editable ".[gateway]"
	VIRTUAL_ENV=$(MIN) $(MIN)/bin/uv pip install --quiet --group dev
	touch $@
