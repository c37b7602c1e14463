"""Notifications by HTTP: plain JSON or CloudEvents to a webhook, and the form that Slack made common.

A form (webhook, slack) makes the body and the headers of a notice; post sends it once, within a time and a size.
What is told, to whom and how often again is decided in loop/.
"""

from __future__ import annotations

from collections.abc import Callable

from controller.adapters.notify.post import Post
from controller.adapters.notify.slack import Slack
from controller.adapters.notify.webhook import Webhook
from controller.core.ports import Notify
from controller.policy import Target


def opening(group: str) -> Callable[[Target], Notify]:
    """What makes the port to a target. group: of the controllers; CloudEvents name it as their source."""

    def opened(target: Target) -> Notify:
        post = Post(target.address)
        if target.slack is not None:
            return Slack(post)
        secret = target.secret.get_secret_value() if target.secret is not None else None
        return Webhook(post, is_cloudevent=target.format == "cloudevents", secret=secret, group=group)

    return opened
