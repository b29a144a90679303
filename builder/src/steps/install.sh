# Installs packages and checks that exactly these are there. Arguments: name-version-release.arch of each.
set -euo pipefail
exec 1>&2
# On an architecture that none of a package is for there is nothing to install; dnf would call that a mistake.
if (( $# == 0 )); then
    echo 'There is no package for this architecture: nothing is installed.'
    exit 0
fi
if [[ -x /usr/lib/grange/yield ]]; then
    /usr/lib/grange/yield --repos
fi
dnf -y install "$@"
rpm --query "$@"
rm -rf /var/cache/dnf/*
