-- +goose Up
CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE note_log(what TEXT NOT NULL);

-- +goose StatementBegin
CREATE TRIGGER note_added AFTER INSERT ON notes BEGIN
    INSERT INTO note_log VALUES('added ' || new.id);
    UPDATE notes SET text = trim(new.text) WHERE id = new.id;
END;
-- +goose StatementEnd

-- +goose Down
DROP TABLE note_log;
DROP TABLE notes;
