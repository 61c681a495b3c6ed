"""What is said of a broker by its version: out of support, not tried with, or nothing."""

from __future__ import annotations

from datetime import date

import pytest

from mcshell.wire.stomp.support import caution

TODAY = date(2026, 11, 26)


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("RabbitMQ/4.3.6", ""),
        ("RabbitMQ/3.10.8", "RabbitMQ 3.10.8 is out of support since 2023-07-31"),
        (
            "RabbitMQ/4.2.1",
            "RabbitMQ 4.2.1 is out of support since 2026-07-31; mcshell was not tried with RabbitMQ 4.2",
        ),
        ("RabbitMQ/3.9.13", "RabbitMQ 3.9.13 is too old"),
        ("RabbitMQ/4.4.0-rc.1", "mcshell was not tried with RabbitMQ 4.4.0-rc.1"),
        ("RabbitMQ/10.0.0", "mcshell was not tried with RabbitMQ 10.0.0"),
        ("ActiveMQ/5.17.2", "ActiveMQ 5.17.2 is out of support since 2024-04-12"),
        ("ActiveMQ/6.3.1", "mcshell was not tried with ActiveMQ 6.3"),
        ("RabbitMQ/", "RabbitMQ does not say its version: mcshell was not tried with it"),
        ("mcshell/0.1.0", ""),
    ],
)
def test_a_broker_out_of_support_or_untried_is_named(server, said):
    """One line with version and date; of one that is supported and was tried nothing is said."""
    assert caution(server, TODAY) == said


def test_support_ends_after_its_last_day():
    """On the day itself it is supported still, and out of support from the next one on."""
    assert "out of support" not in caution("RabbitMQ/4.2.1", date(2026, 7, 31))
    assert "out of support" in caution("RabbitMQ/4.2.1", date(2026, 8, 1))
