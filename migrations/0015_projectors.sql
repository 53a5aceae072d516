-- What the loops tell of themselves: a row for each read model and process that keeps it up, renewed every few seconds.
CREATE TABLE projectors (
    projection VARCHAR(32)  NOT NULL,
    -- Machine and process id.
    process    VARCHAR(255) NOT NULL,
    -- Comma-separated: chat/0,chat/1.
    partitions TEXT         NOT NULL,
    -- Records a second.
    rate       DOUBLE       NOT NULL,
    -- What last went wrong, and when.
    error      TEXT         NULL,
    error_at   BIGINT       NULL,
    seen_at    BIGINT       NOT NULL,
    PRIMARY KEY (projection, process)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
