# Fails if an object file defines a weak symbol, that is, code which other files may end up calling.
# Usage: share_no_code.sh NM OBJECT...
nm=$1
shift
[ $# -gt 0 ] || { echo "no object files given"; exit 1; }
for object in "$@"; do
    "$nm" -C --defined-only "$object" > /dev/null || exit 1
    if "$nm" -C --defined-only "$object" | grep -E ' [WVuwv] '; then
        echo "$object defines the symbols above for others too"
        exit 1
    fi
done
