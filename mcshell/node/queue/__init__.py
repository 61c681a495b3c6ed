"""The work queue: consumed into the spool, and what is said of it through the outbox."""
