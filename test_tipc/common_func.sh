# shellcheck shell=bash
# What every script of this folder begins with: the root of the repository, and the environment that make builds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x .venv/bin/python ]; then
    PATH="$PWD/.venv/bin:$PATH"
fi
if ! python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("paddle") is None)'; then
    echo "error: $(command -v python || echo python) has no Paddle: make .venv/.ready, or activate an environment that has it" >&2
    exit 1
fi
