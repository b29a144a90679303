#!/bin/sh
echo "fails-its-tests is broken" >&2
exit 1
