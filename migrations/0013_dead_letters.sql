-- Dead letters of each read model in a table of its own, so that they are swapped in with its other tables.
CREATE TABLE accounts_dead_letters (
    topic         VARCHAR(32)    NOT NULL,
    part          INT            NOT NULL,
    record_offset BIGINT         NOT NULL,
    record_key    VARBINARY(512) NOT NULL,
    record_at     BIGINT         NOT NULL,
    schema_id     BIGINT         NULL,
    cause         TEXT           NOT NULL,
    -- The record as it stands on the topic.
    bytes         LONGBLOB       NOT NULL,
    tries         INT            NOT NULL DEFAULT 1,
    -- When it failed for the first time, and for the last; not a matter of the record.
    first_at      BIGINT         NOT NULL,
    last_at       BIGINT         NOT NULL,
    -- open: still to be looked at; applied: a later try succeeded; dropped: given up by an operator.
    state         VARCHAR(16)    NOT NULL DEFAULT 'open',
    PRIMARY KEY (topic, part, record_offset)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
CREATE TABLE channels_dead_letters LIKE accounts_dead_letters;
CREATE TABLE broadcasts_dead_letters LIKE accounts_dead_letters;
CREATE TABLE messages_dead_letters LIKE accounts_dead_letters;
CREATE TABLE moderation_dead_letters LIKE accounts_dead_letters;
CREATE TABLE donations_dead_letters LIKE accounts_dead_letters;
CREATE TABLE wallets_dead_letters LIKE accounts_dead_letters;
CREATE TABLE stream_keys_dead_letters LIKE accounts_dead_letters;

-- Nobody noted when these failed; their records' times come nearest.
INSERT INTO accounts_dead_letters SELECT topic, part, record_offset, record_key, record_at, schema_id, cause, bytes, tries, record_at, record_at, state FROM dead_letters WHERE projection = 'accounts';
INSERT INTO channels_dead_letters SELECT topic, part, record_offset, record_key, record_at, schema_id, cause, bytes, tries, record_at, record_at, state FROM dead_letters WHERE projection = 'channels';
INSERT INTO broadcasts_dead_letters SELECT topic, part, record_offset, record_key, record_at, schema_id, cause, bytes, tries, record_at, record_at, state FROM dead_letters WHERE projection = 'broadcasts';
INSERT INTO messages_dead_letters SELECT topic, part, record_offset, record_key, record_at, schema_id, cause, bytes, tries, record_at, record_at, state FROM dead_letters WHERE projection = 'messages';
INSERT INTO moderation_dead_letters SELECT topic, part, record_offset, record_key, record_at, schema_id, cause, bytes, tries, record_at, record_at, state FROM dead_letters WHERE projection = 'moderation';
INSERT INTO donations_dead_letters SELECT topic, part, record_offset, record_key, record_at, schema_id, cause, bytes, tries, record_at, record_at, state FROM dead_letters WHERE projection = 'donations';
INSERT INTO wallets_dead_letters SELECT topic, part, record_offset, record_key, record_at, schema_id, cause, bytes, tries, record_at, record_at, state FROM dead_letters WHERE projection = 'wallets';
INSERT INTO stream_keys_dead_letters SELECT topic, part, record_offset, record_key, record_at, schema_id, cause, bytes, tries, record_at, record_at, state FROM dead_letters WHERE projection = 'stream_keys';
DROP TABLE dead_letters;

-- Who did what to which dead letter. It is about operators, not about facts, and is never swapped.
CREATE TABLE dead_letter_log (
    id            BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    done_at       BIGINT       NOT NULL,
    -- An operator's account, or user and machine of a shell.
    operator      VARCHAR(255) NOT NULL,
    -- applied, failed or dropped.
    outcome       VARCHAR(16)  NOT NULL,
    -- Why it failed again.
    cause         TEXT         NULL,
    projection    VARCHAR(32)  NOT NULL,
    topic         VARCHAR(32)  NOT NULL,
    part          INT          NOT NULL,
    record_offset BIGINT       NOT NULL,
    KEY by_letter (projection, topic, part, record_offset)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
