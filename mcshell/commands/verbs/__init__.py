"""One small module a verb or group of verbs; each function takes the context and the options."""
