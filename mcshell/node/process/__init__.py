"""What makes a process a service: its state directory, its watchdog, its service manager."""
