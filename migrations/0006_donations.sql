-- Donations, and what each donor gave to each room.
CREATE TABLE donations (
    id            BINARY(16)  NOT NULL,
    room          VARCHAR(24) NOT NULL,
    donor         BINARY(16)  NOT NULL,
    donor_name    VARCHAR(64) NOT NULL,
    streamer      BINARY(16)  NOT NULL,
    amount        BIGINT      NOT NULL,
    message       TEXT        NOT NULL,
    donated_at    BIGINT      NOT NULL,
    refunded_at   BIGINT      NULL,
    part          INT         NOT NULL,
    record_offset BIGINT      NOT NULL,
    PRIMARY KEY (id),
    KEY by_room (room, part, record_offset)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE donors (
    room      VARCHAR(24) NOT NULL,
    donor     BINARY(16)  NOT NULL,
    name      VARCHAR(64) NOT NULL,
    amount    BIGINT      NOT NULL,
    donations BIGINT      NOT NULL,
    PRIMARY KEY (room, donor),
    KEY by_amount (room, amount)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- How far this read model has come; swapped together with its tables.
CREATE TABLE donations_checkpoint (
    topic       VARCHAR(32) NOT NULL,
    part        INT         NOT NULL,
    next_offset BIGINT      NOT NULL,
    -- Grows with every claim; whoever holds an older one can no longer commit.
    owner       BIGINT      NOT NULL,
    -- Time of the newest record behind next_offset.
    record_at   BIGINT      NULL,
    PRIMARY KEY (topic, part)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
