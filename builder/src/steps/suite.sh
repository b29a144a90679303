# Runs a test suite. Ends with the code of its run.sh; its result files come out whatever that is.
set -euo pipefail
shopt -s nullglob
# Files leave on the standard output this began with; everything else that is said is the log.
exec 3>&1 1>&2
mkdir /suite "$GRANGE_RESULTS"
tar --extract --file=/grange/in/suite.tar --directory=/suite --no-same-owner
cd /suite
chmod +x run.sh
code=0
./run.sh 3>&- || code=$?
cd "$GRANGE_RESULTS"
files=(*.xml *.log *.txt)
if (( ${#files[@]} > 0 )); then
    tar --create --format=gnu --file=- -- "${files[@]}" >&3
fi
exit "$code"
