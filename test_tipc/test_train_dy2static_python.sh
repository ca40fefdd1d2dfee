#!/usr/bin/env bash
# bash test_tipc/test_train_dy2static_python.sh CONFIG [MODE]
# shellcheck source=test_tipc/common_func.sh
source "$(dirname "${BASH_SOURCE[0]}")/common_func.sh"
exec python -m test_tipc.chains dy2static "$@"
