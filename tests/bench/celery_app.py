"""The task that Celery's workers run in `bench_pool.py`: the same side effect as our agent's."""

from __future__ import annotations

import os
import time

from celery import Celery

app = Celery("bench", broker=os.environ["BENCH_AMQP"], backend="rpc://")
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    result_persistent=True,
    worker_hijack_root_logger=False,
)


@app.task(name="mark")
def mark(file: str, text: str, sleep: float) -> str:
    """Append one line to the file."""
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(f"{text}\n")
    time.sleep(sleep)
    return str(os.getpid())
