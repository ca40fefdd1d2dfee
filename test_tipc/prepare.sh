#!/usr/bin/env bash
# bash test_tipc/prepare.sh CONFIG MODE [DATASET_ROOT]
# shellcheck source=test_tipc/common_func.sh
source "$(dirname "${BASH_SOURCE[0]}")/common_func.sh"
exec python -m test_tipc.prepare "$@"
