package capture

import "github.com/driftdb/driftdb-go/internal/sqlite"

// Lent is the connection that database/sql has in hand.
func Lent(driverConn any) *sqlite.Conn { return driverConn.(*session).c.Conn }
