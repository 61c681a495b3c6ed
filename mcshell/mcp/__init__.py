"""The Model Context Protocol: a face for assistants, which read the fleet and propose, and change nothing."""
