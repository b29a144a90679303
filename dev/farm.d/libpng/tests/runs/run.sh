#!/bin/sh
# The library that is installed finds the ones it needs.
set -eu
ldd /usr/lib64/libpng16.so.16 > libraries
! grep 'not found' libraries
grep -F /usr/lib64/libz.so.1 libraries
