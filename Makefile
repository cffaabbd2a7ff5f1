# make chat    set up, prepare, train a small model, and talk to it
# make test    set up, lint, run every test
# make lint    lint only
# make bench   measure this machine

PYTHON ?= python3
PY := .venv/bin/python
MODEL := models/laptop$(shell sed -n 's/^max_iters *= *//p' config/laptop.toml).pt

.PHONY: chat test lint bench clean

chat: $(MODEL)
	printf '%s\n' 'Hello! How are you?' 'My name is Anna.' 'What is my name?' \
		| $(PY) gen.py $(MODEL) --interactive --seed 1
	@if [ -t 0 ]; then $(PY) gen.py $(MODEL) --interactive; fi

$(MODEL): | data/chitchat.json
	$(PY) train.py config/laptop.toml --dataset chitchat --run_name laptop \
		--loss_on assistant --resume

data/chitchat.json: data/chitchat.toml | .venv/ready
	$(PY) data/prepare-chitchat.py

test: .venv/ready-dev lint
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist worksteal -m "slow or not slow"

lint: .venv/ready-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

bench: .venv/ready data/chitchat.json
	$(PY) bench.py prepare
	$(PY) bench.py train
	$(PY) bench.py gen

.venv/ready: requirements.txt
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/ready-dev: requirements-dev.txt .venv/ready
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis *.egg-info
