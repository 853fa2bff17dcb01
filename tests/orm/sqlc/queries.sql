-- name: CreateAccount :one
INSERT INTO account (owner, balance, photo) VALUES (?, ?, ?) RETURNING *;

-- name: Account :one
SELECT * FROM account WHERE owner = ?;

-- name: Accounts :many
SELECT * FROM account ORDER BY owner;

-- name: Deposit :execrows
UPDATE account SET balance = balance + sqlc.arg(amount) WHERE id = sqlc.arg(id);

-- name: RecordTransfer :exec
INSERT INTO transfer (sender, number, recipient, amount, rate, made)
SELECT sqlc.arg(sender), count(*) + 1, sqlc.arg(recipient), sqlc.arg(amount), sqlc.narg(rate), sqlc.arg(made)
FROM transfer WHERE sender = sqlc.arg(sender);

-- name: TransfersBetween :many
SELECT transfer.*, account.owner AS sender_name
FROM transfer JOIN account ON account.id = transfer.sender
WHERE transfer.made >= sqlc.arg(since) AND transfer.made < sqlc.arg(until)
ORDER BY transfer.sender, transfer.number;

-- name: OpenOrRename :one
INSERT INTO account (id, owner) VALUES (?, ?)
ON CONFLICT (id) DO UPDATE SET owner = excluded.owner
RETURNING *;

-- name: CloseAccount :exec
DELETE FROM account WHERE id = ?;
