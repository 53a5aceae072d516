-- A message that was sent through two gateways in the same instant stands on the topic twice: the
-- first one is the message.
ALTER TABLE messages ADD KEY nonces (room, author, nonce);
DELETE later FROM messages later JOIN messages earlier
    ON earlier.room = later.room AND earlier.author = later.author AND earlier.nonce = later.nonce
    AND earlier.record_offset < later.record_offset;
ALTER TABLE messages DROP KEY nonces, ADD UNIQUE KEY by_nonce (room, author, nonce);

ALTER TABLE held_messages ADD KEY nonces (room, author, nonce);
DELETE later FROM held_messages later JOIN held_messages earlier
    ON earlier.room = later.room AND earlier.author = later.author AND earlier.nonce = later.nonce
    AND earlier.id < later.id;
ALTER TABLE held_messages DROP KEY nonces, ADD UNIQUE KEY by_nonce (room, author, nonce);
