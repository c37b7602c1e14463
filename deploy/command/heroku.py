#!/usr/bin/env python3
"""Heroku: scales one process type of an app. Needs scaling.py beside it.

    web:
      command:
        name: shop-worker
        read: [/opt/scale/heroku.py, read, shop, worker]      # the app, and the process type in its Procfile
        scale: [/opt/scale/heroku.py, scale, shop, worker]
        environment: [HEROKU_API_KEY]                         # heroku authorizations:create --scope write

Two requests a reading; Heroku allows 4,500 an hour for each account, so at 10 s up to 6 workers.
"""

import os
from collections import Counter
from typing import Any

from scaling import Api, run, secret

DRAINING_S = 30
"""From SIGTERM to SIGKILL, for every dyno."""


class ProcessType:
    """One process type of an app."""

    def __init__(self, app: str, kind: str) -> None:
        self.app, self.kind = f"/apps/{app}", kind
        address = os.environ.get("HEROKU_API_URL", "https://api.heroku.com")
        self.api = Api(address, secret("HEROKU_API_KEY"), "application/vnd.heroku+json; version=3")

    def read(self) -> dict[str, Any]:
        """At 0 a type may be gone: GET …/formation/TYPE is 404 then, as for a wrong app. The list tells them apart."""
        formation = self.api.ask("GET", f"{self.app}/formation")
        dynos = Counter(one["state"] for one in self.api.ask("GET", f"{self.app}/dynos") if one["type"] == self.kind)
        up = dynos["up"] + dynos["idle"]
        return {
            "configured": sum(one["quantity"] for one in formation if one["type"] == self.kind),
            "running": up,
            "alive": up + dynos["starting"],
            "crashed": dynos["crashed"],
            "draining": DRAINING_S,
        }

    def scale(self, desired: int) -> None:
        """Heroku answers 404 where the Procfile of the release has no such type."""
        self.api.ask("PATCH", f"{self.app}/formation/{self.kind}", {"quantity": desired})


if __name__ == "__main__":
    run(ProcessType, "APP TYPE")
