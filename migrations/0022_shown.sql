-- The alert that was announced last, found without a search.
ALTER TABLE donations ADD KEY by_shown (room, shown_at);
