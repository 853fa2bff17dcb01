package follow

import "time"

// Metrics describe a follower; the root package's FollowerMetrics documents each field.
type Metrics struct {
	Sequence  int64
	Confirmed int64
	Lag       time.Duration

	LastPoll    time.Time
	LastApplied time.Time
	LastChange  time.Time

	Polls     int64
	Unchanged int64
	Requests  int64
	Batches   int64
	Changes   int64
	Bytes     int64
	Rebases   int64
	Failures  int64

	WALSizeBytes int64
	OldestRead   time.Duration

	Stalled   bool
	LastError error
}

// Metrics returns the current state.
func (f *Follower) Metrics() Metrics {
	s, db := f.board.read(), f.DB().Metrics()
	return Metrics{
		Sequence: s.sequence, Confirmed: s.confirmed, Lag: s.lag(),
		LastPoll: s.polled, LastApplied: s.applied, LastChange: s.changed,
		Polls: s.polls, Unchanged: s.unchanged, Requests: f.meter.Requests.Load(), Batches: s.batches, Changes: s.changes,
		Bytes: f.meter.Received.Load(), Rebases: s.rebases, Failures: s.failures,
		WALSizeBytes: db.WALSizeBytes, OldestRead: db.OldestRead, Stalled: s.stalled, LastError: s.last,
	}
}

// Sequence is the number of the last change that the database shows.
func (f *Follower) Sequence() int64 { return f.board.read().sequence }

// Lag is how old the state of the database may be.
func (f *Follower) Lag() time.Duration { return f.board.read().lag() }

// Err is why the follower cannot go on, or nil.
func (f *Follower) Err() error { return f.board.read().lasting }

func (s state) lag() time.Duration { return time.Since(s.current) }
