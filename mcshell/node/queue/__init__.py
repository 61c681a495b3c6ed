"""The work queue: read into the spool; what is to be replied leaves through the outbox."""
