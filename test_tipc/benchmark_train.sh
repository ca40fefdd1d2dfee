#!/usr/bin/env bash
# bash test_tipc/benchmark_train.sh CONFIG benchmark_train [dynamic_bs8_fp32_DP_N1C1]
# shellcheck source=test_tipc/common_func.sh
source "$(dirname "${BASH_SOURCE[0]}")/common_func.sh"
exec python -m test_tipc.chains benchmark_train "$@"
