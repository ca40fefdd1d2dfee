#!/usr/bin/env bash
# bash test_tipc/test_inference_node.sh CONFIG node_infer
# shellcheck source=test_tipc/common_func.sh
source "$(dirname "${BASH_SOURCE[0]}")/common_func.sh"
exec python -m test_tipc.chains inference_node "$@"
