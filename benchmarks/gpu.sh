#!/usr/bin/env bash
# All figures of a GPU in one command, ended after ten minutes: benchmarks/gpu.sh [--dry] [--turns N] [--json FILE]
# PYTHON names the interpreter (.venv/bin/python). --dry tries the code on any machine.
set -euo pipefail
cd "$(dirname "$0")/.."
exec timeout 600 "${PYTHON:-.venv/bin/python}" -m benchmarks.gpu "$@"
