-- Broadcasts: on air, interrupted, over.
CREATE TABLE broadcasts (
    id             BINARY(16)    NOT NULL,
    room           VARCHAR(24)   NOT NULL,
    title          VARCHAR(255)  NOT NULL,
    ingest         VARCHAR(255)  NOT NULL,
    origin         VARCHAR(2048) NOT NULL,
    started_at     BIGINT        NOT NULL,
    interrupted_at BIGINT        NULL,
    ended_at       BIGINT        NULL,
    reason         VARCHAR(64)   NULL,
    part           INT           NOT NULL,
    record_offset  BIGINT        NOT NULL,
    PRIMARY KEY (id),
    KEY by_room (room, part, record_offset),
    KEY on_air (ended_at, room)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- How far this read model has come; swapped together with its tables.
CREATE TABLE broadcasts_checkpoint (
    topic       VARCHAR(32) NOT NULL,
    part        INT         NOT NULL,
    next_offset BIGINT      NOT NULL,
    -- Grows with every claim; whoever holds an older one can no longer commit.
    owner       BIGINT      NOT NULL,
    -- Time of the newest record behind next_offset.
    record_at   BIGINT      NULL,
    PRIMARY KEY (topic, part)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
