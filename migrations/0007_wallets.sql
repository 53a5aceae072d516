-- The ledger as double entry: entries, their postings, and every book's balance.
CREATE TABLE entries (
    id        BINARY(16)  NOT NULL,
    account   BINARY(16)  NOT NULL,
    kind      VARCHAR(16) NOT NULL,
    room      VARCHAR(24) NULL,
    donation  BINARY(16)  NULL,
    posted_at BIGINT      NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE postings (
    entry   BINARY(16)  NOT NULL,
    line    INT         NOT NULL,
    -- An account's id as text, `provider` or `platform`.
    account VARCHAR(36) NOT NULL,
    book    VARCHAR(16) NOT NULL,
    amount  BIGINT      NOT NULL,
    PRIMARY KEY (entry, line),
    KEY by_account (account, entry)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE balances (
    account VARCHAR(36) NOT NULL,
    book    VARCHAR(16) NOT NULL,
    amount  BIGINT      NOT NULL,
    PRIMARY KEY (account, book),
    CHECK (book <> 'wallet' OR amount >= 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- How far this read model has come; swapped together with its tables.
CREATE TABLE wallets_checkpoint (
    topic       VARCHAR(32) NOT NULL,
    part        INT         NOT NULL,
    next_offset BIGINT      NOT NULL,
    -- Grows with every claim; whoever holds an older one can no longer commit.
    owner       BIGINT      NOT NULL,
    -- Time of the newest record behind next_offset.
    record_at   BIGINT      NULL,
    PRIMARY KEY (topic, part)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
