# Completion of mcshell for bash. What nodes named is quoted when it comes here, and never evaluated.
_mcshell_completion() {
  local IFS=$' \t\n' answer
  COMPREPLY=()
  mapfile -t answer < <(
    @MCSHELL@ completion --answer bash "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null </dev/null
  )
  case ${answer[0]-} in
    open) compopt -o nospace ;;
    shell) compopt -o default ;;
  esac
  COMPREPLY=("${answer[@]:1}")
}
complete -o nosort -F _mcshell_completion mcshell
