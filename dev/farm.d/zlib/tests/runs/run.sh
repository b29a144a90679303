#!/bin/sh
# The library that is installed is the one of the package, and the loader finds it.
set -eu
test -e /usr/lib64/libz.so.1
ldconfig -p | grep -F /usr/lib64/libz.so.1
