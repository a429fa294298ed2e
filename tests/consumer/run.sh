#!/bin/bash
# Installs a build into a folder of its own, moves the tree elsewhere, and looks at it as somebody
# else would: builds and runs consumer.c by pkg-config and by find_package, in C and as a header of
# C++, and checks what the libraries need and export.
#
#   run.sh BUILD_DIR
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    printf 'FAILED: %s\n' "$1" >&2
    exit 1
}

cached() { sed -n "s/^$1:[A-Z]*=//p" "$build/CMakeCache.txt"; }
compiler=$(cached CMAKE_C_COMPILER)
prefix=$(cached CMAKE_INSTALL_PREFIX)
libdir=$(cached CMAKE_INSTALL_LIBDIR)
sanitize=$(cached SEQSYNC_SANITIZE)
flags=(${sanitize:+"-fsanitize=$sanitize"})

if ! DESTDIR=$work/destination cmake --install "$build" >"$work/log" 2>&1; then
    cat "$work/log"
    fail "cmake --install"
fi
# What is relative to itself still works when it is moved; what is not is found out.
mv "$work/destination$prefix" "$work/moved"
root=$work/moved
lib=$root/$libdir

for program in sbin/seqsyncd bin/seqctl bin/seqsync-trainer; do
    [ -x "$root/$program" ] || fail "$program is not installed"
done
for file in "${here%/tests/consumer}"/include/seqsync/*.h; do
    cmp -s "$file" "$root/include/seqsync/${file##*/}" || fail "${file##*/} is not installed"
done
if grep -rlF -e "$build" -e "${here%/tests/consumer}" -e "$work/destination" "$lib/cmake" "$lib/pkgconfig"; then
    fail "these name folders of the build"
fi
if grep -nE 'seqsync_(proto|flags)|PkgConfig|protobuf|xxhash|openblas' "$lib"/cmake/seqsync/*.cmake; then
    fail "the CMake package names what is ours alone"
fi

# check_program PATH: it finds the libraries of the moved tree, and says what it should.
check_program() {
    LD_LIBRARY_PATH=$lib "$1" >"$work/said" || fail "${1##*/} ended with $?"
    grep -qE '^[0-9]+\.[0-9]+\.[0-9]+ UNREACHABLE e169c58d6627e8d5 .' "$work/said" ||
        fail "${1##*/} said $(head -n 1 "$work/said")"
    grep -q '/nonexistent/seqsync.sock' "$work/said" || fail "${1##*/} does not name the socket"
}

export PKG_CONFIG_PATH=$lib/pkgconfig
read -ra words < <(pkg-config --cflags --libs seqsync seqsync-attention)
"$compiler" -std=c11 -Wall -Wextra -Wpedantic -Werror "${flags[@]}" "$here/consumer.c" "${words[@]}" \
    -o "$work/by_pkg_config"
check_program "$work/by_pkg_config"
[ "$(pkg-config --modversion seqsync)" = "$(head -n 1 "$work/said" | cut -d' ' -f1)" ] || fail "the version of seqsync.pc"

build_by_cmake() {
    cmake -S "$here" -B "$work/by_cmake" -DCMAKE_PREFIX_PATH="$root" -DCMAKE_C_COMPILER="$compiler" \
        -DCMAKE_C_FLAGS="${flags[*]-}" || return
    cmake --build "$work/by_cmake"
}
if ! build_by_cmake >"$work/log" 2>&1; then
    cat "$work/log"
    fail "a program that uses find_package"
fi
check_program "$work/by_cmake/consumer"

# Each header can be included alone, from C++ too.
for file in "$root"/include/seqsync/*.h; do
    for language in c c++; do
        printf '#include <seqsync/%s>\n' "${file##*/}" |
            "$compiler" -x "$language" -fsyntax-only -Wall -Wextra -Werror -I "$root/include" - ||
            fail "${file##*/} alone, in $language"
    done
done

# check_library NAME HEADER ...: its SONAME, and that it exports the functions of these headers.
check_library() {
    local name=$1
    shift
    readelf -d "$lib/$name.so" >"$work/dynamic"
    grep -q "SONAME.*\[$name.so.0\]" "$work/dynamic" || fail "the SONAME of $name"
    for file in "$@"; do
        "$compiler" -fpreprocessed -dD -E -P "$file"
    done | grep -oE '\bseqsync_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u >"$work/declared"
    nm -D --defined-only "$lib/$name.so" | awk '$2 != "A" {sub("@.*", "", $3); print $3}' | sort -u >"$work/exported"
    [ -s "$work/declared" ] || fail "no function is declared in $*"
    diff "$work/declared" "$work/exported" >&2 || fail "$name exports (>) something else than its headers declare (<)"
}

include=$root/include/seqsync
check_library libseqsync-attention "$include/attention.h"
mapfile -t headers < <(find "$include" -name '*.h' ! -name attention.h)
check_library libseqsync "${headers[@]}"

# A worker that uses another library for its mathematics is not made to load ours.
if [ -z "$sanitize" ]; then
    needed=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' "$work/dynamic" | sort | tr '\n' ' ')
    [ "$needed" = "libc.so.6 libprotobuf-c.so.1 " ] || fail "libseqsync needs $needed"
fi
echo "an installed seqsync can be used by pkg-config and by CMake"
