# Two commands do everything, set-up included: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo-run
STAMP := $(VENV)/.installed
EXTRAS := baselines,imu,onnx,dask,slurm,track,plot,view,pandas,xarray,hf,test,dev,docs

.PHONY: demo test check lint types docs bench wheel clean

$(STAMP): pyproject.toml setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

# Verify and prepare the recordings that ship, train two models and two references, compare them, write the report.
demo: $(STAMP)
	$(BIN)/csp-data verify sample --deep
	$(BIN)/csp-data prepare sample
	$(BIN)/csp-baselines train sample mean --out $(DEMO)/mean
	$(BIN)/csp-baselines train sample fir --out $(DEMO)/fir
	$(BIN)/csp-baselines train sample flat-s4 --out $(DEMO)/flat-s4
	$(BIN)/csp-baselines train sample hiss-s4-mamba --out $(DEMO)/hiss-s4-mamba
	$(BIN)/csp-baselines table $(DEMO)/mean $(DEMO)/fir $(DEMO)/flat-s4 $(DEMO)/hiss-s4-mamba
	$(BIN)/csp-baselines report $(DEMO)/mean $(DEMO)/fir $(DEMO)/flat-s4 $(DEMO)/hiss-s4-mamba -o $(DEMO)/report.html

# One thread of linear algebra for each worker: more would spin and wait for each other.
test: $(STAMP)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

check: lint types test docs

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

docs: $(STAMP)
	rm -rf docs/generated/api  # pages of what has another name now
	$(BIN)/sphinx-build -E -W --keep-going -q -b html docs docs/_build/html

# Transfers on loopback; `csp-data bench --help` lists what else can be measured.
bench: $(STAMP)
	$(BIN)/csp-data bench transfer

wheel: $(STAMP)
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) $(DEMO) build dist docs/_build docs/generated *.egg-info
