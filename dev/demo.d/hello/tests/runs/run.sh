#!/bin/bash
# The package is installed; does the program do what it is for?
set -euo pipefail

greeting=$(hello)
if [ "$greeting" != "Hello, world!" ]; then
    echo "hello said \"$greeting\" instead of \"Hello, world!\""
    exit 1
fi
echo "hello said \"$greeting\""
