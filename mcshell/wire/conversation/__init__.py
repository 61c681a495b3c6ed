"""Conversations: an ordered two-way channel over queues."""
