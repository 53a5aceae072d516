-- Stream keys in force, as hashes.
CREATE TABLE stream_keys (
    room      VARCHAR(24)  NOT NULL,
    id        BINARY(16)   NOT NULL,
    hash      VARCHAR(64)  NOT NULL,
    prefix    VARCHAR(32)  NOT NULL,
    label     VARCHAR(255) NOT NULL,
    issued_at BIGINT       NOT NULL,
    PRIMARY KEY (room, id),
    KEY by_prefix (prefix)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- How far this read model has come; swapped together with its table.
CREATE TABLE stream_keys_checkpoint (
    topic       VARCHAR(32) NOT NULL,
    part        INT         NOT NULL,
    next_offset BIGINT      NOT NULL,
    -- Grows with every claim; whoever holds an older one can no longer commit.
    owner       BIGINT      NOT NULL,
    -- Time of the newest record behind next_offset.
    record_at   BIGINT      NULL,
    PRIMARY KEY (topic, part)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- They were the channels' own before; this read model fills itself from the topic.
ALTER TABLE channels DROP KEY by_key, DROP COLUMN key_hash, DROP COLUMN key_prefix, DROP COLUMN key_issued_at;
