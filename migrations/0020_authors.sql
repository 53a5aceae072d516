-- By author first: as unique as before, and what somebody said is found without reading all of it.
ALTER TABLE messages DROP KEY by_nonce, ADD UNIQUE KEY by_nonce (author, room, nonce);
