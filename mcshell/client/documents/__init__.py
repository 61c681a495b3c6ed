"""Plans and rules as their authors write them: YAML files."""
