#!/bin/sh
# Fails if a pure library needs anything beyond itself and a short list of the C library: no clock,
# no file, no socket, no thread, no other folder. That is what lets one process simulate a cluster.
#
#     layering.sh NM LIBRARY BASE
#
# BASE: the library under it, which it may use.
set -eu
nm=$1
library=$2
base=$3

# Memory is allocated where jobs are admitted and plans are made; texts are formatted; the rest
# is what compilers emit for plain code, with and without sanitizers.
allowed='malloc|calloc|realloc|free|mem(cpy|move|set|cmp|chr)|str(len|cmp|ncmp|chr|nlen)'
allowed="$allowed|v?snprintf|__v?snprintf_chk|__mem(cpy|move|set)_chk|abort|__assert_fail"
allowed="$allowed|__stack_chk_fail|sqrt|sqrtf|llround|ceil|floor|qsort"
allowed="$allowed|_GLOBAL_OFFSET_TABLE_|__(asan|ubsan|tsan|sanitizer|gcov|sancov)_.*|__start_.*|__stop_.*"
allowed="$allowed|__[a-z]+[sdt]i[0-9]" # libgcc: integer operations that the processor lacks

symbols=$(mktemp)
trap 'rm -f "$symbols"' EXIT

"$nm" --defined-only --format=posix "$library" "$base" | awk 'NF >= 2 { print $1 }' | sort -u >"$symbols"
if [ ! -s "$symbols" ] || ! "$nm" --defined-only "$library" | grep -q ' T '; then
    echo "layering: $library defines nothing; wrong path?" >&2
    exit 2
fi
foreign=$("$nm" --undefined-only --format=posix "$library" | awk 'NF >= 2 { print $1 }' | sort -u |
    grep -Fxv -f "$symbols" | grep -Exv "$allowed" || true)
if [ -n "$foreign" ]; then
    echo "layering: $(basename "$library") must not use:" >&2
    echo "$foreign" | sed 's/^/    /' >&2
    exit 1
fi
