"""In and out of the broker for one session: signing, the outbox, the reply queue, small questions."""
