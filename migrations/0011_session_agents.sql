-- What a session's client calls itself, so that its owner can tell it.
ALTER TABLE sessions ADD COLUMN agent VARCHAR(200) NULL;
