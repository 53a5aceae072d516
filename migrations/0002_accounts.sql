-- Accounts and their sessions.
CREATE TABLE accounts (
    id            BINARY(16)   NOT NULL,
    name          VARCHAR(24)  NOT NULL,
    lower_name    VARCHAR(24)  NOT NULL,
    password_hash VARCHAR(255) NULL,
    email         VARCHAR(320) NULL,
    role          VARCHAR(16)  NOT NULL DEFAULT 'viewer',
    registered_at BIGINT       NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY by_name (lower_name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE sessions (
    id         BINARY(16) NOT NULL,
    account    BINARY(16) NOT NULL,
    opened_at  BIGINT     NOT NULL,
    expires_at BIGINT     NOT NULL,
    closed_at  BIGINT     NULL,
    PRIMARY KEY (id),
    KEY by_account (account)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- How far this read model has come; swapped together with its tables.
CREATE TABLE accounts_checkpoint (
    topic       VARCHAR(32) NOT NULL,
    part        INT         NOT NULL,
    next_offset BIGINT      NOT NULL,
    -- Grows with every claim; whoever holds an older one can no longer commit.
    owner       BIGINT      NOT NULL,
    -- Time of the newest record behind next_offset.
    record_at   BIGINT      NULL,
    PRIMARY KEY (topic, part)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
