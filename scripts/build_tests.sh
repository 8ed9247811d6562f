#!/usr/bin/env bash
# build_tests.sh PRESET FOLDER...: builds the test programs of these folders of src/, and no others.
source "$(dirname "$0")/common.sh"
preset=$1
shift
configure "$preset" -DHUNCH_TESTS=ON  # ./demo leaves them out
build "$preset" "${@/#/test_}"
