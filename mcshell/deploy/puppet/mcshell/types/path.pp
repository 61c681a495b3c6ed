# An absolute path that nothing has to quote.
type Mcshell::Path = Pattern[/\A\/[A-Za-z0-9._+\/-]*\z/]
