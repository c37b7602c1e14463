"""Parameters of a PostgreSQL address that concern another client alone, by the clients that have them.

They are left out of what libpq is given: it refuses an address for one parameter that it does not know. Compared
without case, "_" and "-", since clients in several languages spell one name in several ways.
"""

from __future__ import annotations

import re

_BY_CLIENT = {
    "Prisma": """
        connection_limit pool_timeout socket_timeout pgbouncer sslaccept sslidentity single_use_connections
        statement_cache_size max_connection_lifetime max_idle_connection_lifetime""",
    "node-postgres, postgres.js, TypeORM": """
        uselibpqcompat ssl max min maxUses max_lifetime maxLifetimeSeconds idle_timeout idleTimeoutMillis
        connectionTimeoutMillis connection_timeout query_timeout keepAlive keepAliveInitialDelayMillis allowExitOnIdle
        poolSize binary family encoding prepare fetch_types debug publications backoff stream""",
    "asyncpg, SQLAlchemy, Django": """
        max_cached_statement_lifetime max_cacheable_statement_size command_timeout timeout direct_tls min_size max_size
        max_queries max_inactive_connection_lifetime prepared_statement_cache_size prepared_statement_name_func
        async_fallback server_settings max_overflow pool_recycle pool_pre_ping pool_use_lifo echo isolation_level
        autocommit prepare_threshold server_side_cursors executemany_mode use_native_hstore use_native_unicode
        conn_max_age conn_health_checks atomic_requests disable_server_side_cursors ssl_require engine charset pool
        plugin drivername""",
    "JDBC": """
        sslfactory sslfactoryarg sslhostnameverifier sslpasswordcallback sslResponseTimeout loginTimeout connectTimeout
        cancelSignalTimeout tcpKeepAlive tcpNoDelay preparedStatementCacheQueries preparedStatementCacheSizeMiB
        preferQueryMode defaultRowFetchSize reWriteBatchedInserts ApplicationName hostRecheckSeconds readOnly
        readOnlyMode stringtype unknownLength binaryTransfer binaryTransferEnable binaryTransferDisable
        databaseMetadataCacheFields databaseMetadataCacheFieldsMiB autosave cleanupSavepoints assumeMinServerVersion
        allowEncodingChanges logUnclosedConnections logServerErrorDetail loggerLevel loggerFile gssUseDefaultCreds
        jaasApplicationName jaasLogin useSpnego sspiServiceClass localSocketAddress socketFactory socketFactoryArg
        receiveBufferSize sendBufferSize maxResultBuffer maxSendBufferSize adaptiveFetch adaptiveFetchMinimum
        adaptiveFetchMaximum hideUnprivilegedObjects disableColumnSanitiser escapeSyntaxCallMode
        quoteReturningIdentifiers authenticationPluginClassName groupStartupParameters xmlFactoryFactory
        protocolVersion compatible replication""",
    "Rails, Ecto": """
        max_connections min_connections checkout_timeout reaping_frequency prepared_statements advisory_locks
        min_messages statement_limit insert_returning adapter database_tasks read_timeout write_timeout migrations_paths
        schema_dump query_cache template queue_target queue_interval socket_options ipv6 max_age pool_jitter""",
    "pgx, lib/pq, sqlx": """
        statement_cache_capacity description_cache_capacity statement_cache_mode prefer_simple_protocol
        default_query_exec_mode binary_parameters disable_prepared_binary_result sslinline""",
    "Supabase, Neon, Vercel": "supa workaround pool_mode endpoint project",
    "settings of the server, which each reading sets for itself": """
        statement_timeout lock_timeout idle_in_transaction_session_timeout idle_session_timeout timezone work_mem
        default_transaction_read_only default_transaction_isolation""",
}
_BY_PREFIX = ("x-", "options[", "variables[", "pool_", "server_settings")
"""golang-migrate's, sqlx's, ActiveRecord's, pgx' and SQLAlchemy's."""


def plain(name: str) -> str:
    return re.sub(r"[_\-\[\]]", "", name).lower()


_ALL = frozenset(plain(name) for names in _BY_CLIENT.values() for name in names.split())
NAMES = tuple(name for names in _BY_CLIENT.values() for name in names.split())


def is_of_another_client(name: str, *, by_prefix: bool = True) -> bool:
    return plain(name) in _ALL or (by_prefix and name.lower().startswith(_BY_PREFIX))
