package main

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
	"github.com/driftdb/driftdb-go/objstore"
)

// everyKind is a change with a value of every kind that SQLite has.
func everyKind() driftdb.Change {
	return driftdb.Change{
		Sequence: 7, Tx: 5, Time: time.UnixMilli(1704067200123), Table: "t", Operation: driftdb.OperationUpdate,
		Columns: []string{"b", "a", "c", "d", "e", "f", "g", "h", "i <&>", "j"}, // as the table has them
		Key:     map[string]any{"rowid": int64(1)},
		Before:  map[string]any{"a": int64(1), "b": nil},
		After: map[string]any{
			"a": int64(math.MinInt64), "b": []byte{0, 255}, "c": math.Inf(-1), "d": 1.0, "e": "x\xff",
			"f": int64(1 << 53), "g": math.Inf(1), "h": math.Copysign(0, -1), "i <&>": "é\n", "j": 1e300,
		},
	}
}

func TestChangeLine(t *testing.T) {
	const want = `2024-01-01T00:00:00.123Z 7 t update [rowid=1] b=NULL->x'00ff' a=1->-9223372036854775808 c=?->-Infinity ` +
		`d=?->1.0 e=?->"x\xff" f=?->9007199254740992 g=?->+Infinity h=?->-0.0 "i <&>"=?->"é\n" j=?->1e+300`
	if got := changeLine(everyKind()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	schema := driftdb.Change{Sequence: 1, Time: time.UnixMilli(0), Operation: driftdb.OperationSchema, SQL: "CREATE TABLE t (\n\ta\n)"}
	if got, want := changeLine(schema), "1970-01-01T00:00:00.000Z 1 - schema CREATE TABLE t ( a )"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestChangeJSON(t *testing.T) {
	const want = `{"sequence":7,"tx":5,"time":"2024-01-01T00:00:00.123Z","operation":"update","table":"t","key":{"rowid":1},` +
		`"before":{"b":null,"a":1},"after":{"b":{"$blob":"AP8="},"a":{"$int":"-9223372036854775808"},"c":{"$real":"-Infinity"},` +
		`"d":1.0,"e":{"$text":"eP8="},"f":9007199254740992,"g":{"$real":"Infinity"},"h":-0.0,"i <&>":"é\n","j":1e+300}}` + "\n"
	var got bytes.Buffer
	if err := terminal.New(&got).JSON(jsonChange(everyKind())); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("got  %swant %s", got.String(), want)
	}
}

// TestMovedRow: a row that gets another rowid, in text and in JSON.
func TestMovedRow(t *testing.T) {
	ctx, store := t.Context(), objstore.Mem()
	db, err := driftdb.Open(ctx, driftdb.Config{Name: "app", Path: ":memory:", Store: store, ManualSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(ctx, "CREATE TABLE t(v); INSERT INTO t VALUES(1); UPDATE t SET rowid = 7"); err != nil {
		t.Fatal(err)
	}
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for c, err := range db.Backup().Diff(ctx, driftdb.Point{Sequence: 2}, driftdb.Point{Sequence: 3}) {
		if err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(jsonChange(c))
		if err != nil || !strings.Contains(string(line), `"key":{"rowid":1},"rowid":1,"newRowid":7`) {
			t.Errorf("%s, %v", line, err)
		}
		if got := strings.Join(valuesOf(c), " "); got != "rowid=1 -> 7" {
			t.Error(got)
		}
	}
}
