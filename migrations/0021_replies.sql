-- The message that a message answers.
ALTER TABLE messages ADD COLUMN reply_to BINARY(16) NULL AFTER nonce;
ALTER TABLE held_messages ADD COLUMN reply_to BINARY(16) NULL AFTER nonce;
