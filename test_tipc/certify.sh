#!/usr/bin/env bash
# bash test_tipc/certify.sh [CONFIG_FOLDER...]: every chain on every config, and the table of README.md
# shellcheck source=test_tipc/common_func.sh
source "$(dirname "${BASH_SOURCE[0]}")/common_func.sh"
exec python -m test_tipc.certify "$@"
