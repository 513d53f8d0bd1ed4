_tf_with_colons() {
    local joined=() index=0 word i
    for i in "${!COMP_WORDS[@]}"; do
        word=${COMP_WORDS[i]}
        if (( i > 1 )) && [[ $word == :* || ${COMP_WORDS[i - 1]} == *: ]]; then
            joined[index]+=$word
        else
            (( i > 0 )) && (( index += 1 ))
            joined[index]=$word
        fi
        (( i == COMP_CWORD )) && break
    done
    local COMP_WORDS=("${joined[@]}") COMP_CWORD=$index
    local current=${joined[index]}
    _clap_complete_tf "$1" "$current" "${joined[index - 1]}"
    if [[ $COMP_WORDBREAKS == *:* && $current == *:* ]]; then
        local had=${current%"${current##*:}"}
        COMPREPLY=("${COMPREPLY[@]#"$had"}")
    fi
}
complete -o nospace -o bashdefault -F _tf_with_colons tf
