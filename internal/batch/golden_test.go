package batch

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/digest"
)

// goldenTransactions has every operation and every kind of value.
var goldenTransactions = []transaction{
	{first: 1, time: 1704067200000, entries: []change.Entry{
		{Op: change.Schema, SQL: `CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT)`,
			Settings: change.Settings{ForeignKeys: true, DoubleQuotedDDL: true, DoubleQuotedDML: true}},
		{Op: change.Schema, SQL: "CREATE VIEW \"quo\\ted\" AS\n\tSELECT '\xff'", Settings: change.Settings{LegacyAlterTable: true}},
	}},
	{first: 3, time: 1704067200000, entries: []change.Entry{
		{Op: change.Insert, Table: "users", HasRowID: true, RowID: 1, Key: row{text("id", "u1")}, After: row{text("id", "u1"), text("name", "Alice")}},
	}},
	{first: 4, time: 1704067200123, entries: []change.Entry{
		{Op: change.Update, Table: "users", HasRowID: true, RowID: 1, NewRowID: 1,
			Key: row{text("id", "u1")}, After: row{text("name", "Alice Smith")}, Before: row{text("name", "Alice")}},
		{Op: change.Update, Table: "no key", HasRowID: true, RowID: 5, NewRowID: math.MaxInt64,
			After: row{null("x")}, Before: row{integer("x", 1)}},
		{Op: change.Delete, Table: "without rowid", Key: row{integer("a", 1), integer("b", 2)}, Before: row{integer("a", 1), integer("b", 2), null("c")}},
		{Op: change.Delete, Table: "no key", HasRowID: true, RowID: -3, Before: row{}},
	}},
	{first: 8, time: 1704067200124, entries: []change.Entry{
		{Op: change.Insert, Table: "integers", Key: row{integer("one", -1), integer("zero", 0)}, After: row{
			integer("zero", 0), integer("one", -1), integer("exact", 1<<53), integer("-exact", -1<<53),
			integer("beyond", 1<<53+1), integer("-beyond", -1<<53-1), integer("max", math.MaxInt64), integer("min", math.MinInt64)}},
		{Op: change.Insert, Table: "reals", After: row{
			real("five", 5), real("tenth", 0.1), real("zero", 0), real("-zero", math.Copysign(0, -1)),
			real("huge", 1e300), real("edge", 1e21), real("below", 999999999999999900000), real("small", 1e-6), real("smaller", 9.5e-7),
			real("max", math.MaxFloat64), real("denormal", math.SmallestNonzeroFloat64), real("inf", math.Inf(1)), real("-inf", math.Inf(-1))}},
		{Op: change.Insert, Table: "texts", After: row{
			text("empty", ""), text("nul", "a\x00b"), text("controls", "\x01\b\t\n\v\f\r\x1f\x7f"), text("quotes", `"\/'`),
			text("unicode", "Grüße, 世界 🌊\u2028<>&"), text("not utf-8", "\xc3("), text("surrogate", "\xed\xa0\x80"), text("$text", "{}")}},
		{Op: change.Insert, Table: "blobs\xfe", After: row{
			blob("empty"), blob("one", 0), blob("two", 0xfb, 0xff), blob("three", 1, 2, 3), null("null"),
			blob("$text:x", 1), blob("\xff", 1), blob("", 1), blob("\"\n", 1)}},
	}},
	{first: 12, time: 1704067200124, entries: []change.Entry{
		{Op: change.Barrier, Reason: "VACUUM"},
	}},
	{first: 13, time: 1704067200125, entries: []change.Entry{
		{Op: change.Barrier, Reason: "outgrown", Count: 1000},
	}},
}

var goldenDigests = digest.Report{
	"users": {0x00, 0x01, 0x02, 0x7f, 0x80, 0xfe, 0xff}, "no key": nil, "blobs\xfe": {15: 1}, "$text:": nil, "": {0: 0xab},
}

// The files in testdata are format version 1, for ever: a change of the bytes
// is a new version.
func TestGolden(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("testdata", "v1.json"))
	must(t, err)
	got, trailer := encodeWith(t, testHeader, goldenTransactions, goldenDigests)
	if !bytes.Equal(got, want) {
		t.Errorf("encoded:\n%s\nfrozen:\n%s", got, want)
	}
	h, txs, read, err := decode(bytes.NewReader(want))
	must(t, err)
	if h != testHeader || !equalTransactions(txs, goldenTransactions) {
		t.Errorf("decoded as %+v %+v", h, txs)
	}
	const frozen = "20d27f4f2b2e1bee6884979f95bd47d0e557f5bc4544cbb9e88f72a68d9aad3a"
	if trailer.Head.String() != frozen || trailer.To != 1012 || !reflect.DeepEqual(trailer.Digests, goldenDigests) || !reflect.DeepEqual(read, trailer) {
		t.Errorf("trailer %v, read as %v", trailer, read)
	}
}
