"""The supervisor: gives new machines the jobs they should have."""
