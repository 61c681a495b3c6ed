"""The spool's file: work, outbox, jobs, rules."""
