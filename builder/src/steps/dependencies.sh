# Installs what a source RPM needs to be built. Argument: where it is.
set -euo pipefail
exec 1>&2
# In an image made from another distribution, what our repos can supply must win over what the image claims to have.
if [[ -x /usr/lib/grange/yield ]]; then
    # What the image claims is a package made on the spot: the same claims must give the same package.
    SOURCE_DATE_EPOCH=1767225600 /usr/lib/grange/yield --repos
fi
dnf -y builddep --srpm "$1"
# What is left in the container becomes part of the image that the build starts from.
rm -rf /var/cache/dnf/*
