"""What goes over the broker: frames, envelopes, connections."""
