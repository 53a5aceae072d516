-- Records that could not be decoded or applied, kept in the transaction that moved the checkpoint past them.
--
-- In all tables: ids are BINARY(16), less than half of CHAR(36) in every index, and UUIDv7 sorts by time as bytes too.
-- Times are BIGINT, milliseconds since 1970 UTC, exactly as on the topics and in no time zone.
-- There are no foreign keys, so that one read model's tables can be swapped without those of another.
CREATE TABLE dead_letters (
    projection    VARCHAR(32)    NOT NULL,
    topic         VARCHAR(32)    NOT NULL,
    part          INT            NOT NULL,
    record_offset BIGINT         NOT NULL,
    record_key    VARBINARY(512) NOT NULL,
    record_at     BIGINT         NOT NULL,
    schema_id     BIGINT         NULL,
    cause         TEXT           NOT NULL,
    bytes         LONGBLOB       NOT NULL,
    tries         INT            NOT NULL DEFAULT 1,
    -- open: still to be looked at; applied: a later try succeeded; dropped: given up by an operator.
    state         VARCHAR(16)    NOT NULL DEFAULT 'open',
    PRIMARY KEY (projection, topic, part, record_offset)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
