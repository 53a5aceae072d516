-- The provider's payment behind an entry; and an account's payouts, found without a search.
ALTER TABLE entries
    ADD COLUMN payment VARCHAR(160) NULL,
    ADD KEY by_account (account, kind);
