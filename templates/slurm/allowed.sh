# >>> what a path that the user gave really is, looked at as the user, where it is used
panosc_refuse() {
    panosc_fail "The environment $panosc_given cannot be used: $1. Choose another environment."
}
panosc_one() { # PATH PERSONAL: whose it is, and whether anybody may change it
    local about owner mode
    about=$(stat -c '%u %a' -- "$1" 2>/dev/null) || panosc_refuse "$1 cannot be looked at"
    owner=${about% *} mode=${about#* }
    if [ "$2" = yes ] && [ "$owner" != 0 ] && [ "$owner" != "$EUID" ]; then
        panosc_refuse "$1 belongs to another account, and what is in it would run as you"
    fi
    if (((8#$mode & 2) && !(8#$mode & 8#1000 && owner == 0))) && [ ! -L "$1" ]; then
        panosc_refuse "everybody may write to $1, and what is in it would run as you"
    fi
}
panosc_allowed() { # PERSONAL FOLDER EXPRESSION …: sets panosc_real, or ends the job
    local base rest personal each
    panosc_real=$(readlink -f -- "$panosc_given")
    [ -e "$panosc_real" ] || panosc_refuse "it is not there on $panosc_node"
    [[ $panosc_real != *[[:cntrl:]:]* ]] || panosc_refuse "its real path has odd characters"
    while [ $# -gt 0 ]; do
        personal=$1 base=$(readlink -f -- "$2") rest=$3
        shift 3
        if [ -n "$base" ] && [[ $panosc_real == "${base%/}"/* ]] &&
            [[ ${panosc_real#"${base%/}"/} =~ ^($rest)$ ]]; then
            # A folder like /scratch, where everybody may begin one: then it counts who did.
            [ ! -k "$base" ] || personal=yes
            each=$panosc_real
            while panosc_one "$each" "$personal" && [ "$each" != "$base" ] && [ "$each" != / ]; do
                each=${each%/*}
                each=${each:-/}
            done
            # shellcheck disable=SC2034
            panosc_personal=$personal
            return 0
        fi
    done
    panosc_refuse "it really is $panosc_real, which is not where this facility allows them"
}
# <<<
