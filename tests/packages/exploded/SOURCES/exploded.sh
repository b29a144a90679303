#!/bin/sh
cat /usr/share/exploded/motd.txt
