CREATE TABLE account (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    owner   TEXT NOT NULL UNIQUE,
    balance INTEGER NOT NULL DEFAULT 0 CHECK (balance >= 0),
    photo   BLOB
);

CREATE TABLE transfer (
    sender    INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    number    INTEGER NOT NULL,
    recipient INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
    amount    INTEGER NOT NULL,
    rate      REAL,
    made      DATETIME NOT NULL,
    PRIMARY KEY (sender, number)
) WITHOUT ROWID;
