#!/bin/bash
# Fails: the installed program does.
set -euo pipefail

fails-its-tests
