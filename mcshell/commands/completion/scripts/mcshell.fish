# Completion of mcshell for fish. fish quotes what nodes named; nothing of it is evaluated.
function __mcshell_completion
    @MCSHELL@ completion --answer fish (commandline --cut-at-cursor --current-process | string collect) 2>/dev/null </dev/null
end
complete --command mcshell --no-files --keep-order --arguments '(__mcshell_completion)'
