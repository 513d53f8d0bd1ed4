#compdef tf
_tf() {
    local -a found more whole
    local one value
    found=("${(@f)$(_CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((CURRENT - 1)) TF_COMPLETE=zsh \
        tf -- "${words[@]}" 2>/dev/null)}")
    for one in $found; do
        # A colon of the word itself has a backslash before it; behind one that
        # has none is what it does.
        value=${${one//\\:/$'\0'}%%:*}
        case $value in
            */ | *$'\0') more+=("$one") ;;
            *) whole+=("$one") ;;
        esac
    done
    (( $#more )) && _describe -V values more -S ''
    (( $#whole )) && _describe -V values whole
}
if [[ ${funcstack[1]-} == _tf ]]; then
    _tf "$@"
else
    compdef _tf tf
fi
