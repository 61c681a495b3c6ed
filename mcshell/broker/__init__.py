"""The embedded broker (a lab's: one login, no rights), and configurations for those of production."""
