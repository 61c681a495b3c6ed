"""What is plugged in can be seen."""

from __future__ import annotations

import json

from tests.plugins.distributions import install

CODE = "def night(question):\n    return None\n"


def test_doctor_and_config_show_name_what_distributions_bring(fleet, site):
    """Each plugin with its origin; one that does not load, or of no kind, is a failed check."""
    points = {
        "authoriser": {"night": "nightwatch:night"},
        "audit": {"gone": "nightwatch:gone"},
        "authorizer": {"day": "nightwatch:night"},
        "validator": {"shellsafe": "nightwatch:night"},
    }
    install(site, "nightwatch", points, CODE)
    doctor = fleet.cli("doctor", "--json")
    assert doctor.returncode == 2
    rows = {row["check"]: (row["state"], row["detail"]) for row in json.loads(doctor.stdout)}
    assert rows["plugin authoriser night"] == ("ok", "nightwatch:night of nightwatch-1.0")
    assert rows["plugin audit gone"][0] == "fail"
    assert "does not load" in rows["plugin audit gone"][1]
    assert rows["plugin authorizer day"] == (
        "fail",
        "no plugin kind 'authorizer' (did you mean authoriser?)",
    )
    assert rows["plugin validator shellsafe"][0] == "warn"
    shown = json.loads(fleet.cli("config", "show", "--json").stdout)
    (row,) = [row for row in shown if row["key"] == "plugin.authoriser.night"]
    assert (row["value"], row["origin"]) == ("nightwatch:night", "nightwatch-1.0")
