#compdef mcshell
# Completion of mcshell for zsh. zsh quotes what nodes named; nothing of it is evaluated.
_mcshell() {
  emulate -L zsh
  local line word after meta
  local -a closed open shown shown_open
  line="${(j: :)words[1,CURRENT-1]} $IPREFIX$QIPREFIX$PREFIX"
  while IFS=$'\t' read -r word after meta; do
    if [[ $after == open ]]; then
      open+=("$word") shown_open+=("$word${meta:+  -- $meta}")
    else
      closed+=("$word") shown+=("$word${meta:+  -- $meta}")
    fi
  done < <(@MCSHELL@ completion --answer zsh "$line" 2>/dev/null </dev/null)
  (( $#closed )) && compadd -U -V mcshell -l -d shown -a -- closed
  (( $#open )) && compadd -U -V mcshell -S '' -l -d shown_open -a -- open
  (( $#closed + $#open ))
}
if [[ $funcstack[1] == _mcshell ]]; then
  _mcshell "$@"
else
  compdef _mcshell mcshell
fi
