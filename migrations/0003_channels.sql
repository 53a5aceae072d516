-- Channels, their stream keys and followers.
CREATE TABLE channels (
    room          VARCHAR(24)  NOT NULL,
    owner         BINARY(16)   NOT NULL,
    name          VARCHAR(24)  NOT NULL,
    title         VARCHAR(255) NOT NULL DEFAULT '',
    category      VARCHAR(100) NOT NULL DEFAULT '',
    description   TEXT         NOT NULL,
    -- As many as rows in followers, changed in the same transaction.
    followers     BIGINT       NOT NULL DEFAULT 0,
    key_hash      VARCHAR(64)  NULL,
    key_prefix    VARCHAR(32)  NULL,
    key_issued_at BIGINT       NULL,
    opened_at     BIGINT       NOT NULL,
    PRIMARY KEY (room),
    KEY by_owner (owner),
    KEY by_key (key_hash)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE followers (
    room    VARCHAR(24) NOT NULL,
    account BINARY(16)  NOT NULL,
    since   BIGINT      NOT NULL,
    PRIMARY KEY (room, account),
    KEY by_account (account)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- How far this read model has come; swapped together with its tables.
CREATE TABLE channels_checkpoint (
    topic       VARCHAR(32) NOT NULL,
    part        INT         NOT NULL,
    next_offset BIGINT      NOT NULL,
    -- Grows with every claim; whoever holds an older one can no longer commit.
    owner       BIGINT      NOT NULL,
    -- Time of the newest record behind next_offset.
    record_at   BIGINT      NULL,
    PRIMARY KEY (topic, part)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
