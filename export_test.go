package driftdb

// EventLogger is what a database logs to.
var EventLogger = eventLogger

// CacheUsed is how many bytes the page caches of the database take.
func CacheUsed(db *DB) int64 { return db.engine.CacheUsed() }
