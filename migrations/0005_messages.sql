-- Chat history, laid out as it is read: a room's messages side by side, in the room's order.
CREATE TABLE messages (
    room          VARCHAR(24)  NOT NULL,
    part          INT          NOT NULL,
    record_offset BIGINT       NOT NULL,
    id            BINARY(16)   NOT NULL,
    author        BINARY(16)   NULL,
    author_name   VARCHAR(64)  NULL,
    -- Comma-separated.
    author_roles  VARCHAR(255) NOT NULL,
    text          TEXT         NOT NULL,
    nonce         VARCHAR(255) NULL,
    sent_at       BIGINT       NOT NULL,
    deleted_at    BIGINT       NULL,
    PRIMARY KEY (room, part, record_offset),
    UNIQUE KEY by_id (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- How far this read model has come; swapped together with its tables.
CREATE TABLE messages_checkpoint (
    topic       VARCHAR(32) NOT NULL,
    part        INT         NOT NULL,
    next_offset BIGINT      NOT NULL,
    -- Grows with every claim; whoever holds an older one can no longer commit.
    owner       BIGINT      NOT NULL,
    -- Time of the newest record behind next_offset.
    record_at   BIGINT      NULL,
    PRIMARY KEY (topic, part)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
