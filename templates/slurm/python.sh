for python in ${prefix:+"$prefix/bin/python3" "$prefix/bin/python"} python3 python; do
    "$python" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null && break
    python=
done
[ -n "$python" ] || panosc_fail "There is no Python 3.8 or later on $panosc_node, neither in the \
environment $panosc_title nor elsewhere. Choose another environment or tell the facility's support."
