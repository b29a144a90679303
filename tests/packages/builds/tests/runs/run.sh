#!/bin/bash
# Passes: the installed program says what it should.
set -euo pipefail

test "$(builds)" = "builds works"
