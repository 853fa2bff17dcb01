package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/keytext"
	"github.com/spf13/cobra"
)

// selection is which changes the flags of a command select.
type selection struct {
	from, to     int64
	since, until timeFlag
	table        string
	key          []string
}

func (s *selection) flags(c *cobra.Command) {
	c.Flags().Int64Var(&s.from, "from", 0, "start at change `N` (default: the first one in the store)")
	c.Flags().Int64Var(&s.to, "to", 0, "end with change `N` (default: the last one)")
	c.Flags().Var(&s.since, "since", "only what was committed at this `TIME` or later, such as \"2h ago\" or \"yesterday 14:00\"")
	c.Flags().Var(&s.until, "until", "only what was committed by this `TIME`")
	c.Flags().StringVar(&s.table, "table", "", "only changes to rows of this `TABLE`")
	c.Flags().StringArrayVar(&s.key, "key", nil, "only the row of the table with this `KEY`: its value, or column=value for each column")
}

// check reports flags that cannot be meant.
func (s *selection) check(changed func(flag string) bool) error {
	for flag, n := range map[string]int64{"from": s.from, "to": s.to} {
		if changed(flag) && n < 1 {
			return usagef("--%s %d is too small; the first change is 1", flag, n)
		}
	}
	switch {
	case s.to != 0 && s.to < s.from:
		return usagef("--to %d is before --from %d", s.to, s.from)
	case changed("since") && changed("until") && s.until.Before(s.since.Time):
		return usagef("--until %s is before --since %s", s.until.text, s.since.text)
	case changed("table") && s.table == "":
		return usagef("--table is empty; leave it out for all tables")
	case len(s.key) > 0 && s.table == "":
		return usagef("--key needs --table")
	}
	return nil
}

// query returns the selection as a query. What a key's columns are, and whether 1 is a
// number or a text, shows in the latest change of the table.
func (s *selection) query(ctx context.Context, b *driftdb.Backup) (driftdb.ChangeQuery, error) {
	q := driftdb.ChangeQuery{From: s.from, To: s.to, Since: s.since.Time, Until: s.until.Time, Table: s.table}
	if len(s.key) == 0 {
		return q, nil
	}
	latest, err := one(b.Changes(ctx, driftdb.ChangeQuery{Table: s.table, Reverse: true}))
	if err != nil {
		return q, err
	}
	if latest == nil {
		return q, s.noTable(ctx, b)
	}
	q.Key, err = parseKey(s.table, s.key, latest.Key)
	return q, err
}

// noTable is the error for a table that no change is of.
func (s *selection) noTable(ctx context.Context, b *driftdb.Backup) error {
	tables, err := tablesOf(ctx, b, driftdb.ChangeQuery{})
	if err != nil {
		return err
	}
	return fmt.Errorf("the log has no changes to rows of a table %q; %s", s.table, tables)
}

// tablesOf says which tables the changes that q selects are of.
func tablesOf(ctx context.Context, b *driftdb.Backup, q driftdb.ChangeQuery) (string, error) {
	names := map[string]bool{}
	for c, err := range b.Changes(ctx, q) {
		if err != nil {
			return "", err
		}
		if c.Table != "" {
			names[word(c.Table)] = true
		}
	}
	if len(names) == 0 {
		return "it has none of any table", nil
	}
	const most = 20
	sorted := slices.Sorted(maps.Keys(names))
	more := ""
	if len(sorted) > most {
		sorted, more = sorted[:most], fmt.Sprintf(" and %d more", len(sorted)-most)
	}
	return "it has changes to " + strings.Join(sorted, ", ") + more, nil
}

// one returns the first change, or nil if there is none.
func one(changes iter.Seq2[driftdb.Change, error]) (*driftdb.Change, error) {
	next, stop := iter.Pull2(changes)
	defer stop()
	c, err, found := next()
	if !found || err != nil {
		return nil, err
	}
	return &c, nil
}

// kept says what the backup has, for an error or an empty result.
func kept(ctx context.Context, b *driftdb.Backup) (string, error) {
	first, err := one(b.Changes(ctx, driftdb.ChangeQuery{}))
	if err != nil {
		return "", err
	}
	last, err := one(b.Changes(ctx, driftdb.ChangeQuery{Reverse: true}))
	if err != nil || first == nil || last == nil {
		return "the log is empty; earlier changes, if any, are only in a snapshot", err
	}
	return fmt.Sprintf("the backup has the changes %d of %s to %d of %s", first.Sequence, stamp(first.Time), last.Sequence, stamp(last.Time)), nil
}

// explain adds what the backup has to an error about changes that it no longer has.
func explain(ctx context.Context, b *driftdb.Backup, err error) error {
	if !errors.Is(err, driftdb.ErrNoBackup) {
		return err
	}
	if have, failed := kept(ctx, b); failed == nil {
		err = hinted{err, have}
	}
	return err
}

// parseKey reads a key. sample is the key of another row of the table.
func parseKey(table string, texts []string, sample map[string]any) (map[string]any, error) {
	names := slices.Sorted(maps.Keys(sample))
	key := map[string]any{}
	for _, text := range texts {
		name, value, found := columnValue(text, names)
		switch {
		case !found && len(names) == 1:
			name, value = names[0], text
		case !found:
			return nil, usagef("--key %q names no column of the key of %s; write --key column=value for each of %s",
				text, word(table), strings.Join(names, ", "))
		}
		if _, twice := key[name]; twice {
			return nil, usagef("--key gives %s of %s twice", name, word(table))
		}
		key[name] = keytext.Parse(value, sample[name])
	}
	if len(key) != len(names) {
		return nil, usagef("the key of %s is %s: write --key column=value for each of them", word(table), strings.Join(names, ", "))
	}
	return key, nil
}

// columnValue splits column=value if it begins with one of the columns.
func columnValue(text string, names []string) (name, value string, found bool) {
	before, value, found := strings.Cut(text, "=")
	if !found {
		return "", "", false
	}
	i := slices.IndexFunc(names, func(name string) bool { return strings.EqualFold(name, before) })
	if i < 0 {
		return "", "", false
	}
	return names[i], value, true
}
