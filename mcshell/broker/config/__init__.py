"""Configurations for the brokers of production: `mcshell broker config activemq|rabbitmq`.

`rights` is the one table of who may do what; `activemq` and `rabbitmq` say it in their broker's
words; `site` is what both start from, `writing` puts it all into one directory, `options` are what is
kept for the next time. `enrolment` is what the brokers' doors for new machines share.
"""

from mcshell.broker.config.options import completed, configure, remembered, rewrite
from mcshell.broker.config.writing import RECORD, read_record, write

__all__ = ["RECORD", "completed", "configure", "read_record", "remembered", "rewrite", "write"]
