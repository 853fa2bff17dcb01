-- +goose Up
ALTER TABLE notes ADD COLUMN words INTEGER NOT NULL DEFAULT 0;
UPDATE notes SET words = 1 + length(text) - length(replace(text, ' ', ''));
CREATE INDEX notes_words ON notes(words);

-- +goose Down
DROP INDEX notes_words;
ALTER TABLE notes DROP COLUMN words;
