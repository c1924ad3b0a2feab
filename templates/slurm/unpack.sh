# >>> a packed environment is copied to this node, and removed after the user's last session on it
panosc_base=$panosc_unpack_to/panosc-$EUID
panosc_place=
panosc_amount() { # BYTES
    if [ "$1" -ge 1000000000 ]; then
        printf '%s.%s GB' $(($1 / 1000000000)) $(($1 / 100000000 % 10))
    else
        printf '%s MB' $((($1 + 999999) / 1000000))
    fi
}
panosc_enter() { # SECONDS: one session at a time may change what is below (descriptor 8)
    for _ in 1 2 3 4 5; do
        mkdir -m 0700 -- "$panosc_base" 2>/dev/null
        if [ -L "$panosc_base" ] || [ ! -d "$panosc_base" ] || [ ! -O "$panosc_base" ] ||
            [ "$(stat -c %a -- "$panosc_base")" != 700 ]; then
            panosc_why="$panosc_base cannot be made, or is not yours alone"
            return 1
        fi
        exec 8<"$panosc_base"
        if ! flock -n 8; then
            [ "$1" -lt 60 ] ||
                panosc_say progress "Waiting for another session of yours that copies an environment"
            if ! flock -w "$1" 8; then
                exec 8<&-
                panosc_why="another session of yours on $panosc_node is still busy with it"
                return 1
            fi
        fi
        # The session before us may have been the last one and have removed the folder.
        [ "$panosc_base" -ef /proc/self/fd/8 ] && return 0
        exec 8<&-
    done
    panosc_why="$panosc_base comes and goes"
    return 1
}
panosc_sweep() { # remove what no session uses: each holds a lock on its environment's folder
    local each
    for each in "$panosc_base"/* "$panosc_base"/.new.*; do
        if [ -d "$each" ] && [ ! -L "$each" ]; then
            # shellcheck disable=SC2094
            (flock -n 7 && rm -f -- "$each/.panosc-ready" && rm -rf -- "$each") 7<"$each"
        fi
    done
}
# shellcheck disable=SC2317
panosc_clean() { # at the end of the session, also of one that was cancelled
    exec 7<&- 9<&-
    if panosc_enter 5; then
        panosc_sweep
        rmdir -- "$panosc_base" 2>/dev/null
        exec 8<&-
    fi
}
panosc_watch() { # tell how far the archive has been read, for as long as this runs
    local name at percent last=-1 nap='' pause=1
    trap '[ -z "$nap" ] || kill "$nap" 2>/dev/null; exit' TERM
    while true; do
        sleep "$pause" >/dev/null 2>&1 &
        nap=$!
        wait "$nap"
        nap=
        # Hundreds of sessions may start at once.
        pause=$((pause < 8 ? 2 * pause : 10))
        while read -r name at && [ "$name" != pos: ]; do :; done </proc/self/fdinfo/7
        percent=$((at * 100 / panosc_size))
        if [ "$percent" -ne "$last" ]; then
            last=$percent
            panosc_say progress "Copying the environment $panosc_title to $panosc_node: \
$percent %, $(panosc_amount "$at") of $(panosc_amount "$panosc_size")"
        fi
    done
}
panosc_plain() {
    case $panosc_archive in
        *.tar) cat ;;
        *.tar.gz | *.tgz) gzip -dc ;;
        *.tar.bz2) bzip2 -dc ;;
        *.tar.xz) xz -dc ;;
        *.tar.zst) zstd -dc ;;
    esac
}
panosc_pour() { # FOLDER: the archive into it
    local both
    panosc_plain <&7 | tar -x --no-same-owner -f - -C "$1"
    both=("${PIPESTATUS[@]}")
    # tar reads up to the archive's own end, and more may follow: then it is SIGPIPE that ends who
    # still writes.
    [ "${both[1]}" -eq 0 ] && { [ "${both[0]}" -eq 0 ] || [ "${both[0]}" -eq 141 ]; }
}
panosc_room() { # whether it can fit; what is packed says only what it needs at least
    local room need=$panosc_size half
    [[ $panosc_archive == *.tar ]] || need=$((2 * panosc_size))
    room=$(df --output=avail -B1 -- "$panosc_base" | tail -n 1)
    if [ "$room" -lt "$need" ]; then
        panosc_why="it needs at least $(panosc_amount "$need") in $panosc_unpack_to on \
$panosc_node, and $(panosc_amount "$room") are free"
        return 1
    fi
    # What is in memory counts as the session's own memory.
    half=$((${SLURM_MEM_PER_NODE:-0} * 1048576 / 2))
    if [ "$half" -gt 0 ] && [ "$half" -lt "$need" ] &&
        [ "$(stat -f -c %T -- "$panosc_base")" = tmpfs ]; then
        panosc_why="it needs at least $(panosc_amount "$need"), which is more than half of this \
session's memory; ask for more memory"
        return 1
    fi
}
panosc_fill() { # with the lock of panosc_enter: the whole environment at its place, or nothing
    local new=$panosc_base/.new.$panosc_name words watcher status
    local tool=${panosc_archive##*.}
    case $tool in
        tar) tool=tar ;;
        gz | tgz) tool=gzip ;;
        bz2) tool=bzip2 ;;
        zst) tool=zstd ;;
    esac
    if ! command -v "$tool" >/dev/null; then
        panosc_why="there is no $tool on $panosc_node to unpack it"
        return 1
    fi
    panosc_sweep # killed sessions may have left something in the room that is needed now
    panosc_room || return 1
    mkdir -m 0700 -- "$new" || return 1
    exec 7<"$panosc_archive"
    panosc_watch 8<&- &
    watcher=$!
    words=$(
        set -o pipefail
        exec 8<&-
        panosc_pour "$new" 2>&1 | sed -n 1p
    )
    status=$?
    kill "$watcher" 2>/dev/null
    wait "$watcher" 2>/dev/null
    exec 7<&-
    if [ "$status" -ne 0 ]; then
        panosc_why="it could not be unpacked in $panosc_unpack_to (${words:-exit status $status})"
    elif [ ! -d "$new/bin" ]; then
        panosc_why="the archive has no bin at its top, as conda-pack would make it"
    else
        mv -T -- "$new" "$panosc_place"
        # It writes the environment's place into its files, so it has to be there already.
        if [ ! -e "$panosc_place/bin/conda-unpack" ] || words=$(
            PATH=$panosc_place/bin:$PATH "$panosc_place/bin/conda-unpack" 2>&1 8<&-
        ); then
            : >"$panosc_place/.panosc-ready"
            return 0
        fi
        panosc_why="conda-unpack failed (${words##*$'\n'})"
        new=$panosc_place
    fi
    rm -rf -- "$new"
    return 1
}
panosc_unpack() { # sets prefix; or says in panosc_why why not
    local began=$SECONDS about told="is on $panosc_node already"
    panosc_archive=$(readlink -f -- "$panosc_archive")
    if [ ! -f "$panosc_archive" ] || [ ! -r "$panosc_archive" ]; then
        panosc_why="its archive is not there on $panosc_node, or may not be read"
        return 1
    fi
    panosc_size=$(stat -c %s -- "$panosc_archive")
    about=$(stat -c '%n %s %Y' -- "$panosc_archive" | sha256sum)
    panosc_name=${about:0:16}
    panosc_place=$panosc_base/$panosc_name
    trap panosc_clean EXIT
    panosc_enter 900 || return 1
    if [ ! -e "$panosc_place/.panosc-ready" ]; then
        panosc_say progress "Copying the environment $panosc_title to $panosc_node: \
$(panosc_amount "$panosc_size")"
        if ! panosc_fill; then
            exec 8<&-
            return 1
        fi
        told="was copied to $panosc_node in $((SECONDS - began)) s"
    fi
    exec 9<"$panosc_place"
    flock -s 9
    exec 8<&-
    prefix=$panosc_place
    panosc_say ok "The environment $panosc_title $told."
}
# <<<
