-- +goose NO TRANSACTION
-- +goose Up
CREATE VIRTUAL TABLE note_search USING fts5(text);
INSERT INTO note_search(rowid, text) SELECT id, text FROM notes;

-- +goose Down
DROP TABLE note_search;
