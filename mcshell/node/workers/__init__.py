"""Workers: they run what waits in the spool, and in the queues of pools."""
