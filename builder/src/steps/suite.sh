# Runs a test suite. Ends with the code of its run.sh; its result files come out whatever that is.
set -euo pipefail
# Files leave on the standard output this began with; everything else that is said is the log.
exec 3>&1 1>&2
mkdir -p /suite "$GRANGE_RESULTS"
tar --extract --file=/grange/in/suite.tar --directory=/suite --no-same-owner
cd /suite
chmod +x run.sh
code=0
./run.sh 3>&- || code=$?
find "$GRANGE_RESULTS" -maxdepth 1 -type f '(' -name '*.xml' -o -name '*.log' -o -name '*.txt' ')' -printf '%P\0' \
    | tar --create --format=gnu --directory="$GRANGE_RESULTS" --null --files-from=- >&3
exit "$code"
