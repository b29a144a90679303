#!/bin/bash
# Ends well, yet does not pass: one of the two cases in the report failed.
set -euo pipefail

fails-in-junit | grep -qx "Hello, JUnit!"

cat > "$GRANGE_RESULTS/junit.xml" <<'EOF'
<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="2" failures="1">
  <testsuite name="reports" tests="2" failures="1" errors="0" skipped="0" time="0.02">
    <testcase classname="reports" name="greets" time="0.01"/>
    <testcase classname="reports" name="says-goodbye" time="0.01">
      <failure message="it never says goodbye">expected "Goodbye, JUnit!" and got nothing</failure>
    </testcase>
  </testsuite>
</testsuites>
EOF
