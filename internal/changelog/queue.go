package changelog

import (
	"fmt"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Kind is the kind of a job.
type Kind string

// The kinds of jobs. Not every object needs a job. No manifest names a snapshot before it
// is complete, so a failed one is simply taken again. A merged batch holds what its parts
// hold, so it does no harm if it is never recorded.
const (
	Upload Kind = "upload" // store a batch
	Delete Kind = "delete" // remove a batch that a merged one covers, when it is due
)

// Job is an entry of the queue: an object to store or delete. The object's contents and
// name are fixed before the first attempt.
type Job struct {
	ID       int64
	Kind     Kind
	Epoch    int64
	From, To int64
	Object   string // its key
	Due      int64  // Unix ms; not before
	Attempts int
}

// Claim puts jobs into the queue and gives them their numbers. When it returns,
// the claims and all that they cover are on disk.
func (l *Log) Claim(jobs []Job) error {
	return l.commit(func() error {
		for i := range jobs {
			if err := l.claim(&jobs[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *Log) claim(j *Job) error {
	st, err := l.c.Cached("INSERT INTO main._driftdb_queue(kind, status, epoch, from_sequence, to_sequence, object, due) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING id")
	if err != nil {
		return err
	}
	defer st.Release()
	status := "processing"
	if j.Due > 0 {
		status = "pending"
	}
	st.BindText(1, string(j.Kind))
	st.BindText(2, status)
	st.BindInt64(3, j.Epoch)
	st.BindInt64(4, j.From)
	st.BindInt64(5, j.To)
	st.BindText(6, j.Object)
	st.BindInt64(7, j.Due)
	return st.Each(func(st *sqlite.Stmt) error { j.ID = st.Int64(0); return nil })
}

// Jobs lists the jobs of a kind, oldest first.
func (l *Log) Jobs(kind Kind) ([]Job, error) {
	unpin, err := l.Pin()
	if err != nil {
		return nil, err
	}
	defer unpin()
	st, err := l.c.Cached("SELECT id, epoch, from_sequence, to_sequence, object, due, attempts FROM main._driftdb_queue WHERE kind = ?1 ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer st.Release()
	st.BindText(1, string(kind))
	var out []Job
	err = st.Each(func(st *sqlite.Stmt) error {
		out = append(out, Job{
			ID: st.Int64(0), Kind: kind, Epoch: st.Int64(1), From: st.Int64(2), To: st.Int64(3),
			Object: st.Text(4), Due: st.Int64(5), Attempts: int(st.Int64(6)),
		})
		return nil
	})
	return out, err
}

// Hasten makes all jobs of a kind due at due (Unix ms) at the latest.
func (l *Log) Hasten(kind Kind, due int64) error {
	return l.commit(func() error {
		return bindRun(l.c, "UPDATE main._driftdb_queue SET due = ?2 WHERE kind = ?1 AND due > ?2", func(st *sqlite.Stmt) {
			st.BindText(1, string(kind))
			st.BindInt64(2, due)
		})
	})
}

// Failed records that an attempt at j failed. The job becomes pending again.
func (l *Log) Failed(j Job, cause error) error {
	return l.commit(func() error {
		st, err := l.c.Cached("UPDATE main._driftdb_queue SET status = 'pending', attempts = attempts + 1, error = ?2 WHERE id = ?1")
		if err != nil {
			return err
		}
		defer st.Release()
		st.BindInt64(1, j.ID)
		st.BindText(2, fmt.Sprintf("%.500s", cause))
		return st.Run()
	})
}

// Drop removes jobs from the queue that are done or no longer needed.
func (l *Log) Drop(jobs []Job) error {
	return l.commit(func() error {
		for _, j := range jobs {
			if err := l.drop(j); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *Log) drop(j Job) error {
	st, err := l.c.Cached("DELETE FROM main._driftdb_queue WHERE id = ?1")
	if err != nil {
		return err
	}
	defer st.Release()
	st.BindInt64(1, j.ID)
	return st.Run()
}
