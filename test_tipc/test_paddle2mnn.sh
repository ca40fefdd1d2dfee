#!/usr/bin/env bash
# bash test_tipc/test_paddle2mnn.sh CONFIG paddle2mnn_infer
# shellcheck source=test_tipc/common_func.sh
source "$(dirname "${BASH_SOURCE[0]}")/common_func.sh"
exec python -m test_tipc.chains paddle2mnn "$@"
