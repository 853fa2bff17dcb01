package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
)

const (
	searchWindow = 20_000                 // changes that are read at a time to find those that match
	searchTime   = 700 * time.Millisecond // after which a search stops, and the page offers to go on
)

// search finds a page of changes. It never reads more of the log than it must: without a
// filter, the end of a batch or two; with one, the log in windows, until the page is full or
// the time is over.
type search struct {
	*visit
	query  driftdb.ChangeQuery
	op     driftdb.Operation // "": any
	upward bool              // the oldest that match, and not the newest
	want   int
	part   part
}

// part is which part of the log was searched.
type part struct {
	From, To    int64
	First, Last int64 // what the log has; 0: not looked up
	Searched    bool  // for some changes among others
	Done        bool  // there is nothing more in this direction
}

// set translates the form. Times become numbers of changes once, and not for each window.
func (s *search) set(f logForm) error {
	s.query.Table = f.Table
	var err error
	if f.Key != "" {
		if s.query.Key, err = s.key(f.Table, f.Key); err != nil {
			return err
		}
	}
	since, err := parseTime(f.Since, "since")
	if err != nil {
		return err
	}
	until, err := parseTime(f.Until, "until")
	if err != nil {
		return err
	}
	s.part.Searched = f.Table != "" || f.Op != "" || f.Since != "" || f.Until != ""
	s.query.From, s.query.To = f.From, f.To
	if !s.part.Searched {
		return nil
	}
	if s.part.First, s.part.Last, err = s.bounds(); err != nil {
		return err
	}
	low, high := s.part.First, s.part.Last
	for _, q := range []driftdb.ChangeQuery{{Since: since}, {Until: until, Reverse: true}} {
		if q.Since.IsZero() && q.Until.IsZero() {
			continue
		}
		at, err := s.one(q)
		switch {
		case err != nil:
			return err
		case at == nil:
			low, high = 1, 0 // nothing is in that time
		case q.Reverse:
			high = min(high, at.Sequence)
		default:
			low = max(low, at.Sequence)
		}
	}
	s.query.From = max(s.query.From, low)
	if s.query.To == 0 || s.query.To > high {
		s.query.To = high
	}
	return nil
}

// bounds are the first and last change that the log has.
func (v *visit) bounds() (first, last int64, err error) {
	info, err := v.backup.Info(v.ctx)
	if err == nil && v.db == nil {
		return info.First, info.Sequence, nil
	}
	if err != nil && (v.db == nil || !errors.Is(err, driftdb.ErrNoStore) && !errors.Is(err, driftdb.ErrNoBackup)) {
		return 0, 0, err
	}
	if first = info.First; first == 0 { // nothing is in a bucket yet
		oldest, err := v.one(driftdb.ChangeQuery{})
		if err != nil || oldest == nil {
			return 1, 0, err
		}
		first = oldest.Sequence
	}
	return first, v.db.Sequence(), nil
}

// one returns the first change that q selects, or nil.
func (v *visit) one(q driftdb.ChangeQuery) (*driftdb.Change, error) {
	for c, err := range v.changes(v.ctx, q) {
		if err != nil {
			return nil, err
		}
		return &c, nil
	}
	return nil, nil
}

// key reads the key of a row, as an address has it or as a person has typed it. Which
// columns it has shows in the newest change of the table.
func (v *visit) key(table, text string) (map[string]any, error) {
	if strings.HasPrefix(text, "{") {
		key, err := decodeKey(text)
		if err != nil {
			return nil, err
		}
		sample, err := v.sample(table, searchWindow)
		if err == nil && sample != nil && !slices.Equal(slices.Sorted(maps.Keys(key)), slices.Sorted(maps.Keys(sample))) {
			err = bad("the key of this table is (%s)", strings.Join(slices.Sorted(maps.Keys(sample)), ", "))
		}
		return key, err
	}
	sample, err := v.sample(table, rowWindow)
	if err != nil {
		return nil, err
	}
	if sample == nil {
		return nil, notFound{fmt.Errorf("the newest %d changes of the log have none of a table %s", rowWindow, quoted(shorten(table, 100)))}
	}
	return parseKey(text, sample)
}

// sample is the key of a row of a table, among the newest n changes; nil if there is none.
func (v *visit) sample(table string, n int64) (map[string]any, error) {
	first, last, err := v.bounds()
	if err != nil || last < first {
		return nil, err
	}
	latest, err := v.one(driftdb.ChangeQuery{Table: table, From: max(first, last-n+1), Reverse: true})
	if err != nil || latest == nil {
		return nil, err
	}
	return latest.Key, nil
}

// run returns the changes of the page, newest first.
func (s *search) run() (found []driftdb.Change, err error) {
	s.query.Reverse = !s.upward
	switch {
	case !s.part.Searched:
		if s.upward { // nothing after that is fetched, then
			s.query.To = s.query.From + int64(s.want) - 1
		}
		found, err = s.page()
		s.part.Done = len(found) < s.want
	case s.query.To < s.query.From:
		s.part.Done = true
	default:
		found, err = s.windows()
	}
	if s.upward {
		slices.Reverse(found)
	}
	return found, err
}

// page returns a page of changes among which nothing is searched for. The log is read forward,
// and a batch can have very many changes: with a first change to begin at, those before it are
// skipped and not kept.
func (s *search) page() ([]driftdb.Change, error) {
	if q := s.query; q.Reverse && q.To > 0 {
		q.From = max(q.From, q.To-int64(s.want)+1)
		found, err := s.take(s.ctx, q, s.want)
		if err != nil || len(found) == s.want || q.From == s.query.From {
			return found, err
		}
		// The changes of a barrier are one.
	}
	return s.take(s.ctx, s.query, s.want)
}

// windows searches window by window.
func (s *search) windows() (found []driftdb.Change, err error) {
	began, low, high := time.Now(), s.query.From, s.query.To
	for low <= high && len(found) < s.want && (time.Since(began) < searchTime || low == s.query.From && high == s.query.To) {
		q := s.query
		q.From, q.To = low, high
		if s.upward {
			q.To = min(high, low+s.h.window-1)
		} else {
			q.From = max(low, high-s.h.window+1)
		}
		more, err := s.take(s.ctx, q, s.want-len(found))
		if err != nil {
			return nil, err
		}
		if found = append(found, more...); s.upward {
			low = q.To + 1
		} else {
			high = q.From - 1
		}
	}
	s.part.Done = low > high
	s.part.From, s.part.To = high+1, s.query.To
	if s.upward {
		s.part.From, s.part.To = s.query.From, low-1
	}
	if len(found) == s.want { // the rest of the window is for the next page
		last := found[len(found)-1].Sequence
		if s.part.Done = false; s.upward {
			s.part.To = last
		} else {
			s.part.From = last
		}
	}
	return found, nil
}

// take returns the first changes that q selects and that are of the operation that is
// wanted.
func (s *search) take(ctx context.Context, q driftdb.ChangeQuery, n int) (found []driftdb.Change, err error) {
	for c, err := range s.changes(ctx, q) {
		if err != nil {
			return nil, err
		}
		if s.op != "" && c.Operation != s.op {
			continue
		}
		if found = append(found, c); len(found) == n {
			break
		}
	}
	return found, nil
}
