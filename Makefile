# The README's two commands, and the other commands of CI.
.PHONY: demo test fast lint benchmark

.venv/bin/python:
	python3 -m venv .venv

demo: .venv/bin/python
	.venv/bin/pip install . && .venv/bin/rootstock demo

test: .venv/bin/python
	.venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest

fast: .venv/bin/python
	.venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest -m "not model"

lint: .venv/bin/python
	.venv/bin/pip install -e '.[lint]' && .venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

benchmark: .venv/bin/python
	.venv/bin/pip install -e '.[benchmark]' && .venv/bin/python -m benchmarks
