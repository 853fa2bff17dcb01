// One measurement of better-sqlite3: node peer.mjs SIDE WORK N FOLDER. It prints the
// seconds that the work took. SIDE is better-sqlite3, or better-sqlite3+log, which writes
// each change to a table of JSON, in the transaction of the change.
import Database from "better-sqlite3";
import { randomFillSync } from "node:crypto";
import { join } from "node:path";

const [side, work, count, folder] = process.argv.slice(2);
const n = Number(count);
const logged = side === "better-sqlite3+log";

const db = new Database(join(folder, "peer.sqlite"));
for (const p of ["journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "cache_size = -64000", "temp_store = MEMORY"])
  db.pragma(p);
db.exec(`CREATE TABLE users (id TEXT NOT NULL PRIMARY KEY, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL,
    name TEXT NOT NULL, email TEXT NOT NULL, age INTEGER NOT NULL);
  CREATE INDEX users_age ON users (age);
  CREATE TABLE log (seq INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, change TEXT NOT NULL)`);

const insertRow = db.prepare("INSERT INTO users (id, createdAt, updatedAt, name, email, age) VALUES (?, ?, ?, ?, ?, ?)");
const updateRow = db.prepare("UPDATE users SET age = ?, updatedAt = ? WHERE id = ? RETURNING id, createdAt, updatedAt, name, email, age");
const byID = db.prepare("SELECT id, createdAt, updatedAt, name, email, age FROM users WHERE id = ?");
const byAge = db.prepare("SELECT id, createdAt, updatedAt, name, email, age FROM users WHERE age >= ? AND age < ?");
const logRow = db.prepare("INSERT INTO log (time, change) VALUES (?, ?)");

const random = new Uint8Array(16);
function uuid7(now) {
  randomFillSync(random);
  for (let i = 5, t = now; i >= 0; i--, t = Math.floor(t / 256)) random[i] = t % 256;
  random[6] = (random[6] & 0x0f) | 0x70;
  random[8] = (random[8] & 0x3f) | 0x80;
  const hex = Buffer.from(random).toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function user(i) {
  const now = Date.now();
  return { id: uuid7(now), createdAt: now, updatedAt: now, name: "Alice", email: `user${i}@example.com`, age: i % 100 };
}

function insert(u) {
  insertRow.run(u.id, u.createdAt, u.updatedAt, u.name, u.email, u.age);
  if (logged) logRow.run(u.createdAt, JSON.stringify({ op: "insert", table: "users", after: u }));
  return u;
}

function update(id, age) {
  const now = Date.now();
  const before = logged ? byID.get(id) : undefined;
  const after = updateRow.get(age, now, id);
  if (logged) logRow.run(now, JSON.stringify({ op: "update", table: "users", before, after }));
  return after;
}

// Alone, a statement is a transaction by itself; with its log row it needs one.
const insertOne = logged ? db.transaction(insert) : insert;
const updateOne = logged ? db.transaction(update) : update;
const insertAll = db.transaction((rows) => rows.forEach(insert));

const fill = (n) => {
  const rows = Array.from({ length: n }, (_, i) => user(i));
  insertAll(rows);
  return rows;
};

const works = {
  insert: () => () => { for (let i = 0; i < n; i++) insertOne(user(i)); },
  bulk: () => () => { for (let i = 0; i < n; i += 10_000) insertAll(Array.from({ length: Math.min(10_000, n - i) }, (_, k) => user(i + k))); },
  update: () => { const rows = fill(20_000); return () => { for (let i = 0; i < n; i++) updateOne(rows[(i * 7919) % rows.length].id, i % 100); }; },
  lookup: () => { const rows = fill(20_000); return () => { for (let i = 0; i < n; i++) if (byID.get(rows[(i * 7919) % rows.length].id) === undefined) throw new Error("not found"); }; },
  range: () => { fill(20_000); return () => { for (let read = 0, age = 0; read < n; age = (age + 10) % 100) read += byAge.all(age, age + 10).length; }; },
};

const timed = works[work]();
const start = process.hrtime.bigint();
timed();
console.log(Number(process.hrtime.bigint() - start) / 1e9);
db.close();
