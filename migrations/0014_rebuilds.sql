-- How rebuilds are getting on, and whether somebody holds them: one row a read model, in the live database only.
CREATE TABLE rebuilds (
    projection VARCHAR(32) NOT NULL PRIMARY KEY,
    paused     BOOLEAN     NOT NULL,
    phase      VARCHAR(16) NOT NULL,
    done       BIGINT      NOT NULL,
    total      BIGINT      NOT NULL,
    -- Records a second.
    rate       DOUBLE      NOT NULL,
    started_at BIGINT      NOT NULL,
    updated_at BIGINT      NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
