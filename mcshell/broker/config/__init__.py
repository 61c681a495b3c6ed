"""Configurations for the brokers of production: `mcshell broker config activemq|rabbitmq`."""
