-- Refunds in parts, donors without a name, messages that wait, what was announced; ranks by month; goals.
ALTER TABLE donations
    -- Points given back.
    ADD COLUMN refunded  BIGINT     NOT NULL DEFAULT 0,
    ADD COLUMN anonymous BOOLEAN    NOT NULL DEFAULT FALSE,
    -- The message waits for a moderator, or was kept back.
    ADD COLUMN held      BOOLEAN    NOT NULL DEFAULT FALSE,
    ADD COLUMN denied    BOOLEAN    NOT NULL DEFAULT FALSE,
    -- The goal that it counts for.
    ADD COLUMN goal      BINARY(16) NULL,
    -- When an overlay showed it.
    ADD COLUMN shown_at  BIGINT     NULL,
    ADD KEY by_time (room, donated_at),
    ADD KEY by_held (room, held);

UPDATE donations SET refunded = amount WHERE refunded_at IS NOT NULL;

-- A row for each month (UTC) beside the one for all time. Donors without a name share the id zero.
ALTER TABLE donors
    ADD COLUMN month CHAR(7) NOT NULL DEFAULT '',
    DROP PRIMARY KEY,
    ADD PRIMARY KEY (room, month, donor),
    DROP KEY by_amount,
    ADD KEY by_amount (room, month, amount);

INSERT INTO donors (room, month, donor, name, amount, donations)
    SELECT room, DATE_FORMAT(DATE_ADD('1970-01-01', INTERVAL FLOOR(donated_at / 1000) SECOND), '%Y-%m') AS given_in,
        donor, MAX(donor_name), SUM(amount - refunded), SUM(refunded < amount)
    FROM donations GROUP BY room, given_in, donor;

CREATE TABLE donation_settings (
    room            VARCHAR(24) NOT NULL,
    minimum         BIGINT      NOT NULL,
    accepts_offline BOOLEAN     NOT NULL,
    review          VARCHAR(16) NOT NULL,
    alert_minimum   BIGINT      NOT NULL,
    alert_ms        BIGINT      NOT NULL,
    alert_volume    INT         NOT NULL,
    PRIMARY KEY (room)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE overlays (
    room   VARCHAR(24) NOT NULL,
    paused BOOLEAN     NOT NULL,
    PRIMARY KEY (room)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE goals (
    id         BINARY(16)   NOT NULL,
    room       VARCHAR(24)  NOT NULL,
    title      VARCHAR(255) NOT NULL,
    target     BIGINT       NOT NULL,
    -- What was given for it, without refunds.
    amount     BIGINT       NOT NULL,
    started_at BIGINT       NOT NULL,
    closed_at  BIGINT       NULL,
    PRIMARY KEY (id),
    KEY by_room (room, closed_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The event that made the overlay's key; none until it is rotated for the first time.
ALTER TABLE channels ADD COLUMN overlay_key BINARY(16) NULL;
