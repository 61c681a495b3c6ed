"""Signed documents: requests, replies, registrations, jobs, rules, plans, turns."""
