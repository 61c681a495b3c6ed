"""STOMP: frames, dialects, connections."""
