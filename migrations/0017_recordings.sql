-- What is kept of a broadcast, and how much it is once it is whole.
ALTER TABLE broadcasts
    ADD COLUMN recorded       BOOLEAN      NOT NULL DEFAULT FALSE,
    ADD COLUMN recorded_from  BIGINT       NULL,
    ADD COLUMN recorded_ms    BIGINT       NULL,
    ADD COLUMN recorded_bytes BIGINT       NULL,
    -- Nobody can watch it any more.
    ADD COLUMN deleted_at     BIGINT       NULL,
    ADD COLUMN deleted_for    VARCHAR(64)  NULL;
