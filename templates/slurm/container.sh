# >>> the command line of the container
# shellcheck disable=SC2016
panosc_inside='for each in "$1/bin/python3" python3 python; do
    if "$each" -I -S -c "import sys; sys.exit(sys.version_info < (3, 8))" 2>/dev/null; then
        shift
        exec "$each" -I -c "$@"
    fi
done
exit 117'
panosc_container() { # COMMAND …
    local account
    command -v "$1" >/dev/null || panosc_fail "The environment $panosc_title is a container, and \
there is no $1 on $panosc_node. Choose another environment or tell the facility's support."
    [ -r "$image" ] || panosc_fail "The image of the environment $panosc_title is not there on \
$panosc_node, or may not be read: $image. Choose another environment or tell the facility's support."
    container=("$@" exec)
    panosc_into=APPTAINERENV_
    [[ $* != *singularity* ]] || panosc_into=SINGULARITYENV_
    # The account's home comes by itself.
    account=$(getent passwd "$EUID" | cut -d: -f6)
    [ "$HOME" -ef "$account" ] || container+=(--home "$HOME")
}
# shellcheck disable=SC2317
panosc_gpus() {
    if [ -e /dev/kfd ]; then container+=(--rocm); else container+=(--nv); fi
}
# shellcheck disable=SC2317
panosc_bind() { # PATH MODE: one that cannot be reached would end all; the session's start tells it
    if timeout -s KILL 20 test -d "$1"; then container+=(--bind "$1:$1:$2"); fi
}
panosc_environment() { # NAME …: also where images or sites keep the host's environment out
    local each
    for each in "${!JUPYTERHUB_@}" "${!PANOSC_@}" "$@"; do
        [[ -v $each ]] || continue
        # Such a value would be run as shell code in there; it comes in the usual way, if at all.
        [[ ${!each} == *[\\\$\`]* ]] || export "$panosc_into$each=${!each}"
    done
    [ -z "$prefix" ] || export "${panosc_into}PREPEND_PATH=$prefix/bin"
}
# <<<
