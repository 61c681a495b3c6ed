# A node's name, as certificates have it.
type Mcshell::Name = Pattern[/\A[a-z0-9][a-z0-9._-]*\z/]
