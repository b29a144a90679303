# Builds a source RPM. Arguments: where it is, then options for rpmbuild.
# Ends with 11 if something it needs is missing; if the build worked out what, that comes out as a file.
set -euo pipefail
# Files leave on the standard output this began with; everything else that is said is the log.
exec 3>&1 1>&2
srpm=$1
shift
cd /builddir
mkdir out
code=0
rpmbuild --rebuild --define "_topdir $PWD" --define "_rpmdir $PWD/out" --define "_srcrpmdir $PWD/out" \
    --define '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' "$@" "$srpm" 3>&- || code=$?
# Plain files only: whatever else a build may have put there is not rpmbuild's.
if (( code == 0 || code == 11 )); then
    find out -maxdepth 1 -type f -name '*.rpm' -printf '%P\0' \
        | tar --create --format=gnu --directory=out --null --files-from=- >&3
fi
exit "$code"
