"""Who runs what waits: the queue's worker, the pools' worker."""
