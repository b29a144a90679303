# Builds a source RPM. Arguments: where it is, then options for rpmbuild.
# Ends with 11 if something it needs is missing; if the build worked out what, that comes out as a file.
# Is CCACHE_DIR set, the build has a ccache: what is in the archive GRANGE_CCACHE, if it is there. When the build has passed, its
# counts come out, and what is in it if there is something new, at most GRANGE_CCACHE_BYTES. Nothing about it makes a build fail.
set -euo pipefail
# Files leave on the standard output this began with; everything else that is said is the log.
exec 3>&1 1>&2
srpm=$1
shift
cd /builddir
mkdir out

compilers=/var/tmp/ccache-compilers
has_ccache=

# Puts links to ccache under the names of the compilers that are there in front of them.
fill_ccache() {
    local path
    mkdir "$CCACHE_DIR" "$compilers" || return
    if [[ -e $GRANGE_CCACHE ]]; then
        tar --extract --file="$GRANGE_CCACHE" --directory="$CCACHE_DIR" --no-same-owner --no-same-permissions || {
            rm -rf "$CCACHE_DIR"
            mkdir "$CCACHE_DIR" || return
        }
    fi
    ccache --zero-stats > /dev/null || return
    for path in /usr/bin/{cc,c++,*gcc,*g++,*gcc-[0-9]*,*g++-[0-9]*,clang,clang++,clang-[0-9]*}; do
        [[ ! -x $path ]] || ln -s "$(command -v ccache)" "$compilers/${path##*/}" || return
    done
}

empty_ccache() {
    local name count new=0
    ccache --print-stats > out/ccache.txt || return
    while read -r name count; do
        case $name in cache_miss | preprocessed_cache_hit) new=$((new + count)) ;; esac
    done < out/ccache.txt
    (( new > 0 )) || return 0
    ccache --cleanup > /dev/null
    # Results and counters; ccache would read a configuration here as well.
    find "$CCACHE_DIR" -regextype posix-extended -type f -regex '.*/[0-9a-f]/([0-9a-v]+[A-Z]|stats)' -printf '%P\0' \
        | tar --create --format=gnu --directory="$CCACHE_DIR" --null --files-from=- --file=out/ccache.tar \
        && (( $(stat --format=%s out/ccache.tar) <= GRANGE_CCACHE_BYTES )) || rm -f out/ccache.tar
}

if [[ -n ${CCACHE_DIR-} ]]; then
    if ! command -v ccache > /dev/null; then
        echo 'There is no ccache in this image; it is built without.'
    elif fill_ccache; then
        has_ccache=yes
        PATH=$compilers:$PATH
    fi
fi

code=0
rpmbuild --rebuild --define "_topdir $PWD" --define "_rpmdir $PWD/out" --define "_srcrpmdir $PWD/out" \
    --define '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' "$@" "$srpm" 3>&- || code=$?

# What has a name of ours is ours.
rm -rf out/ccache.tar out/ccache.txt
if [[ -n $has_ccache ]] && (( code == 0 )); then
    empty_ccache || echo 'The ccache of this build is not kept.'
fi
# Plain files only: whatever else a build may have put there is not rpmbuild's.
if (( code == 0 || code == 11 )); then
    find out -maxdepth 1 -type f \( -name '*.rpm' -o -name ccache.tar -o -name ccache.txt \) -printf '%P\0' \
        | tar --create --format=gnu --directory=out --null --files-from=- >&3
fi
exit "$code"
