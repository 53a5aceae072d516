-- What moderators have made of a room.
CREATE TABLE chat_settings (
    room              VARCHAR(24) NOT NULL,
    slow_mode_ms      BIGINT      NOT NULL,
    followers_only_ms BIGINT      NULL,
    unique_messages   BOOLEAN     NOT NULL,
    emote_only        BOOLEAN     NOT NULL,
    -- One a line.
    blocked_words     TEXT        NOT NULL,
    links_allowed     BOOLEAN     NOT NULL,
    hold_for_review   BOOLEAN     NOT NULL,
    PRIMARY KEY (room)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Bans, time-outs and moderators. A time-out that has run out stays until the next one.
CREATE TABLE standings (
    room     VARCHAR(24)  NOT NULL,
    kind     VARCHAR(16)  NOT NULL,
    account  BINARY(16)   NOT NULL,
    name     VARCHAR(64)  NOT NULL,
    since    BIGINT       NOT NULL,
    ends     BIGINT       NULL,
    reason   VARCHAR(255) NULL,
    PRIMARY KEY (room, kind, account)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Messages that wait for a moderator.
CREATE TABLE held_messages (
    room         VARCHAR(24)  NOT NULL,
    id           BINARY(16)   NOT NULL,
    author       BINARY(16)   NOT NULL,
    author_name  VARCHAR(64)  NOT NULL,
    -- Comma-separated.
    author_roles VARCHAR(255) NOT NULL,
    text         TEXT         NOT NULL,
    nonce        VARCHAR(255) NULL,
    held_at      BIGINT       NOT NULL,
    PRIMARY KEY (room, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE pins (
    room         VARCHAR(24)  NOT NULL,
    message      BINARY(16)   NOT NULL,
    author       BINARY(16)   NULL,
    author_name  VARCHAR(64)  NULL,
    author_roles VARCHAR(255) NOT NULL,
    text         TEXT         NOT NULL,
    pinned_by    VARCHAR(64)  NULL,
    pinned_at    BIGINT       NOT NULL,
    PRIMARY KEY (room)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Who did what to whom, in the room's order. No message's text is in it.
CREATE TABLE moderation_log (
    room          VARCHAR(24)  NOT NULL,
    part          INT          NOT NULL,
    record_offset BIGINT       NOT NULL,
    id            BINARY(16)   NOT NULL,
    kind          VARCHAR(32)  NOT NULL,
    actor         BINARY(16)   NULL,
    actor_name    VARCHAR(64)  NULL,
    actor_roles   VARCHAR(255) NOT NULL,
    target        BINARY(16)   NULL,
    target_name   VARCHAR(64)  NULL,
    message       BINARY(16)   NULL,
    -- What else the event says, as JSON.
    detail        MEDIUMTEXT   NOT NULL,
    done_at       BIGINT       NOT NULL,
    PRIMARY KEY (room, part, record_offset),
    UNIQUE KEY by_id (id),
    KEY by_message (room, message)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- How far this read model has come; swapped together with its tables.
CREATE TABLE moderation_checkpoint (
    topic       VARCHAR(32) NOT NULL,
    part        INT         NOT NULL,
    next_offset BIGINT      NOT NULL,
    -- Grows with every claim; whoever holds an older one can no longer commit.
    owner       BIGINT      NOT NULL,
    -- Time of the newest record behind next_offset.
    record_at   BIGINT      NULL,
    PRIMARY KEY (topic, part)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
