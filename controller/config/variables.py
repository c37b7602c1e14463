"""The environment variables that the controller reads on any platform; a platform's are in its adapter's settings.

`autoscaler help environment` and docs/environment.md show both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OTLP_ENDPOINT, OTLP_HEADERS = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"
OTLP_PROTOCOL, OTLP_INTERVAL = "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_METRIC_EXPORT_INTERVAL"
"""Named by OpenTelemetry."""


@dataclass(frozen=True, slots=True)
class EnvironmentVariable:
    """required: "yes", "no", or by what. default: in words; "" where there is none. see: a page of docs/, or "".

    holds: token: a secret as a whole. id: one word. address: a password may be in it.
    """

    name: str
    meaning: str
    default: str = ""
    required: str = "no"
    see: str = ""
    holds: Literal["token", "id", "address", ""] = ""


def _of_the_policy(name: str, default: str) -> EnvironmentVariable:
    return EnvironmentVariable(name, "read by the shipped policy", default)


def common(group: str) -> tuple[EnvironmentVariable, ...]:
    """group: what AUTOSCALER_GROUP defaults to, in words."""
    return (
        EnvironmentVariable(
            "DATABASE_URL",
            "PostgreSQL 12 or newer; a user with SELECT on the table is enough",
            required="yes",
            see="postgres.md",
        ),
        EnvironmentVariable("DATABASE_DIRECT_URL", "PostgreSQL without a pooler in between, for notifications"),
        EnvironmentVariable(
            "REDIS_URL",
            "Redis 6.2 or newer, or Valkey, with `maxmemory-policy noeviction`",
            required="yes",
            see="redis.md",
        ),
        _of_the_policy("MAX_WORKERS", "5"),
        _of_the_policy("MIN_WORKERS", "0"),
        _of_the_policy("GLOBAL_RPM_LIMIT", "60"),
        _of_the_policy("POLL_INTERVAL_MS", "10000"),
        _of_the_policy("SCALE_DOWN_COOLDOWN_MS", "120000"),
        _of_the_policy("SCALE_UP_COOLDOWN_MS", "30000"),
        EnvironmentVariable("PORT", "HTTP, on IPv6 and IPv4", "8080"),
        EnvironmentVariable(
            "HTTP_TOKEN",
            "token that a client must show for everything except /health; ASCII without spaces",
            see="http-and-metrics.md#how-do-i-protect-it",
        ),
        EnvironmentVariable("LOG_FORMAT", "json or text", "text on a terminal, else json"),
        EnvironmentVariable("AUTOSCALER_POLICY", "the policy's file", "policy.yaml"),
        EnvironmentVariable(
            "LEASE_TTL_MS",
            "how long a lease lasts without renewal: the longest time that a crashed leader delays its successor",
            "15000",
        ),
        EnvironmentVariable("LEASE_RENEW_MS", "how often the leader renews it", "1500, less with a short lease"),
        EnvironmentVariable(
            "REDIS_TIMEOUT_MS",
            "deadline of one Redis call; together with LEASE_RENEW_MS it must fit into the lease",
            "2000, less with a short lease",
        ),
        EnvironmentVariable(
            "LANDING_BOUND_MS",
            "how long a change with an unknown outcome, or one that is not visible yet, holds back every other change",
            "60000",
        ),
        EnvironmentVariable(
            "AUTOSCALER_GROUP",
            "name of this group of controllers in its keys in Redis; two groups in one environment need two names",
            group,
        ),
        EnvironmentVariable("REDIS_KEY_PREFIX", "prefix of the controller's own keys", "autoscaler"),
        EnvironmentVariable(
            OTLP_ENDPOINT,
            "address of an OpenTelemetry collector, to which the metrics are sent too; needs the extra `otlp`",
            see="http-and-metrics.md#can-it-send-metrics-to-opentelemetry",
        ),
        EnvironmentVariable(OTLP_HEADERS, "headers for the collector, such as `authorization=Bearer …`"),
        EnvironmentVariable(OTLP_PROTOCOL, "only http/protobuf", "http/protobuf"),
        EnvironmentVariable(OTLP_INTERVAL, "how often the metrics are sent to the collector", "60000"),
    )
