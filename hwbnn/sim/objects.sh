#!/bin/sh
# Compiles what its arguments say. An object of Verilator's own run-time library, whose source is the last argument and
# which goes to the working folder under that name, is kept beside this script for the next design.
for source; do :; done
case $source in
    "$VERILATOR_ROOT"/include/*.cpp) ;;
    *) exec "$@" ;;
esac
name=$(basename "$source" .cpp)
kept=$(dirname "$0")/$name-$(printf '%s\n' "$@" | cksum | tr ' ' -).o
[ -f "$kept" ] && cp "$kept" "$name.o" && exit
"$@" || exit
cp "$name.o" "$kept.$$" 2>/dev/null && mv "$kept.$$" "$kept"
exit 0
