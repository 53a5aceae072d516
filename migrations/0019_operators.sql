-- What operators did to the whole site, as the topic tells.
CREATE TABLE operator_log (
    id            BINARY(16)   NOT NULL,
    done_at       BIGINT       NOT NULL,
    operator      BINARY(16)   NOT NULL,
    operator_name VARCHAR(64)  NOT NULL,
    action        VARCHAR(64)  NOT NULL,
    -- A read model, a dead letter, or the id of an account or a session.
    target        VARCHAR(255) NOT NULL,
    PRIMARY KEY (id),
    KEY by_operator (operator)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Processes and what runs in them: a row each, renewed every few seconds.
CREATE TABLE processes (
    -- Machine and process id.
    process    VARCHAR(255) NOT NULL PRIMARY KEY,
    -- Comma-separated: gateway,ingest.
    services   VARCHAR(255) NOT NULL,
    version    VARCHAR(64)  NOT NULL,
    started_at BIGINT       NOT NULL,
    seen_at    BIGINT       NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What operators want done to read models; whoever keeps those up does it.
CREATE TABLE rebuild_wishes (
    projection VARCHAR(32) NOT NULL PRIMARY KEY,
    -- rebuild, verify or rollback.
    wish       VARCHAR(16) NOT NULL,
    wished_at  BIGINT      NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What came of it: a report in JSON, or why it failed.
ALTER TABLE rebuilds ADD COLUMN report MEDIUMTEXT NULL, ADD COLUMN fault TEXT NULL;

-- What people are called beside their names.
ALTER TABLE accounts ADD COLUMN display_name VARCHAR(24) NULL;
