#!/bin/sh
echo "builds works"
