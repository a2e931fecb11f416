# make demo   the main job on a fresh machine: SPaR on 24 prompts with a real model
# make test   all tests, the linter and the type checker
# Both make the virtual environments that they need; `make torture` and `make train-demo` are for those with more time.

PYTHON ?= python3
DEMO_LAKE ?= lake
VENV = .venv
TEST_VENV = .venv-test

.PHONY: demo train-demo test torture lint clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --editable .
	touch $@

$(VENV)/installed-train: $(VENV)/installed
	$(VENV)/bin/pip install --quiet torch==2.13.0
	$(VENV)/bin/pip install --quiet --editable '.[train]'
	touch $@

$(TEST_VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(TEST_VENV)
	$(TEST_VENV)/bin/pip install --quiet torch==2.13.0
	$(TEST_VENV)/bin/pip install --quiet --editable '.[train,test]'
	touch $@

demo: $(VENV)/installed
	$(VENV)/bin/factory run demo --lake $(DEMO_LAKE)

# 128 prompts, a training set of them, and the embedded model trained on it.
train-demo: $(VENV)/installed-train
	$(VENV)/bin/factory run demo --limit 128 --lake lake-train-demo
	$(VENV)/bin/factory build spar_dpo -p held_out=0.25 --lake lake-train-demo
	$(VENV)/bin/factory train dpo --set spar_dpo --model embedded:smollm2-135m --config small-cpu --lake lake-train-demo

lint: $(TEST_VENV)/installed
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/ruff format --check .
	$(TEST_VENV)/bin/mypy

test: lint
	$(TEST_VENV)/bin/python -m pytest

# A hundred runs disturbed at random points, each compared with one that nobody disturbed.
torture: $(TEST_VENV)/installed
	$(TEST_VENV)/bin/python -m tests.torture --points 100

clean:
	rm -rf $(VENV) $(TEST_VENV) build *.egg-info
