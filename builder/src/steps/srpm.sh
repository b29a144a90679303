# Makes a source RPM. Arguments: where the spec is in the tree, then options for rpmbuild.
set -euo pipefail
shopt -s nullglob
# Files leave on the standard output this began with; everything else that is said is the log.
exec 3>&1 1>&2
spec=tree/$1
shift
cd /builddir
mkdir tree out
tar --extract --file=/grange/in/tree.tar --directory=tree --no-same-owner
sources=$(dirname "$spec")
if [[ $sources == tree/SPECS ]]; then
    sources=tree/SOURCES
    mkdir -p "$sources"
fi
for file in /grange/in/sources/*; do
    cp -- "$file" "$sources/"
done
rpmbuild -bs --define "_topdir $PWD" --define "_sourcedir $PWD/$sources" --define "_srcrpmdir $PWD/out" "$@" "$spec" 3>&-
# What its packages will provide, as far as the spec says: builds are ordered by it. A spec that only builds elsewhere has
# nothing to say here, which is no fault of the package.
{ rpmspec -q --provides --define "_topdir $PWD" --define "_sourcedir $PWD/$sources" "$@" "$spec" 3>&- || true; } \
    | head --bytes=1048576 >out/provides.txt || true
find out -maxdepth 1 -type f -printf '%P\0' | tar --create --format=gnu --directory=out --null --files-from=- >&3
