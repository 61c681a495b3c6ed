"""The embedded broker, and configurations for those of production.

The embedded one (`server`, `queues`, `store`) is for a first try, tests and a lab. It has one login
and no rights: whoever has the passcode may write to every destination and read every queue. So a
hostile node could there

- read what others are asked and answer, and take requests and replies out of their queues, so that
  they never arrive: the ledger shows them as `silent` or `expired`, never as answered;
- fill any queue, to the broker's own limit (`server.STORED`), and so stop all who send.

It could not ask anything of a node, nor answer in another's name: both want a signature, and what
has none is refused and counted. Where a node may be hostile, run ActiveMQ or RabbitMQ as `config`
sets them up.
"""
