# Lists what is installed, and the names that play a part in it.
set -euo pipefail
# Files leave on the standard output this began with; everything else that is said is the log.
exec 3>&1 1>&2
cd /builddir
rpm --query --all --queryformat '%{NEVRA} %{SHA256HEADER}\n' > packages.txt
rpm --query --all --queryformat \
    '[%{PROVIDENAME}\n][%{REQUIRENAME}\n][%{RECOMMENDNAME}\n][%{SUGGESTNAME}\n][%{CONFLICTNAME}\n][%{OBSOLETENAME}\n]' \
    | LC_ALL=C sort --unique > names.txt
tar --create --format=gnu packages.txt names.txt >&3
