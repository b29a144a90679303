# Installs packages and checks that exactly these are there. Arguments: name-version-release.arch of each.
set -euo pipefail
exec 1>&2
if [[ -x /usr/lib/grange/yield ]]; then
    /usr/lib/grange/yield --repos
fi
dnf -y install "$@"
rpm --query "$@"
rm -rf /var/cache/dnf/*
