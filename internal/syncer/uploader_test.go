package syncer

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// TestClaimComesFirst: when a batch is sent, its job is in the file, as everybody sees it;
// and an attempt that failed is repeated as it was, although more has been committed.
func TestClaimComesFirst(t *testing.T) {
	for _, fault := range []objstoretest.Kind{objstoretest.Fail, objstoretest.Lose} {
		e := newEpoch(t, "a", "b", "c", "d")
		other, err := new(sqlite.Driver).Open(e.cfg.Path, sqlite.Options{MustExist: true})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		var mu sync.Mutex // batches are sent side by side
		var sent []string
		store := objstoretest.Break(objstore.Mem(), func(c objstoretest.Call) objstoretest.Fault {
			if c.Op != objstoretest.Put || !strings.Contains(c.Key, "/logs/") {
				return objstoretest.Fault{}
			}
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, c.Key[strings.LastIndex(c.Key, "/")+1:])
			jobs, err := changelog.View(other).Jobs(changelog.Upload)
			if err != nil || !slices.ContainsFunc(jobs, func(j changelog.Job) bool { return j.Object == c.Key }) {
				t.Errorf("%s is sent, and the queue has %+v, %v", c.Key, jobs, err)
			}
			if len(sent) == 1 {
				return objstoretest.Fault{Kind: fault}
			}
			return objstoretest.Fault{}
		})
		e.cfg.Bucket = remote.New(store, "app", seal.Options{})
		if _, err := e.take(t.Context(), e.cfg.Bucket, remote.Stored{}, 1); err != nil {
			t.Fatal(err)
		}
		u := &uploader{state: e.state, epoch: e, compact: &compactor{state: e.state, epoch: e}}
		if err := u.upload(t.Context(), 2); !errors.Is(err, objstoretest.ErrInjected) {
			t.Errorf("the first attempt: %v", err)
		}
		if e.books.Acked != 0 {
			t.Errorf("%d is acknowledged", e.books.Acked)
		}
		if err := u.upload(t.Context(), 4); err != nil {
			t.Errorf("the second attempt: %v", err)
		}
		const first, second = "000000000001-000000000002.e1.json", "000000000003-000000000004.e1.json"
		if slices.Sort(sent); !slices.Equal(sent, []string{first, first, second}) {
			t.Errorf("%v was sent", sent)
		}
		chain, err := e.log.ChainAt(0, batch.Genesis(e.log.Identity().DatabaseID), 4)
		if err != nil || e.books.Acked != 4 || e.books.Chain != chain || tables(e.digests.Known) != "a b c d" || tables(e.digests.Told) != "a b c d" {
			t.Errorf("the books are %+v, and know %v; %v", e.books, e.digests, err)
		}
		if jobs, err := e.log.Jobs(changelog.Upload); err != nil || len(jobs) != 0 {
			t.Errorf("the queue has %+v, %v", jobs, err)
		}
	}
}

// TestAdmit: a session's first batch may be one that an earlier attempt has claimed; one
// that does not hold all that is pending, or a barrier, needs an epoch first.
func TestAdmit(t *testing.T) {
	for _, c := range []struct {
		name    string
		entries []string
		limits  changelog.Limits
		job     changelog.Job
		to      int64 // of the draft; 0: there is none
		barrier int64
	}{
		{name: "all in one", entries: []string{"a", "b", "c"}, to: 3},
		{name: "more than one batch", entries: []string{"a", "b", "c"}, limits: changelog.Limits{Bytes: 1}},
		{name: "a barrier", entries: []string{"a", "", "c"}, to: 3, barrier: 2},
		{name: "claimed before", entries: []string{"a", "b", "c"}, job: changelog.Job{Kind: changelog.Upload, Epoch: 9, From: 2, To: 2}, to: 2},
		{name: "of a session that is over", entries: []string{"a", "b", "c"}, job: changelog.Job{Kind: changelog.Upload, Epoch: 4, From: 2, To: 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEpoch(t, c.entries...)
			e.cfg.Bucket = remote.New(objstore.Mem(), "app", seal.Options{})
			if c.limits.Bytes > 0 {
				e.cfg.Limits = c.limits
			}
			e.at(t, changelog.Books{Acked: 1, Confirmed: 1, Snapshot: -1}, "a")
			if c.job.To > 0 {
				if err := e.log.Claim([]changelog.Job{c.job}); err != nil {
					t.Fatal(err)
				}
			}
			node := e.log.Identity().NodeID
			m := &remote.Manifest{NodeID: node, Epoch: 5, LatestSequence: 1, Lineage: []remote.Span{{NodeID: node, Epoch: 5, From: 1}}}
			u := &uploader{state: e.state, epoch: e}
			_, d, job, err := u.admit(Comparison{stored: remote.Stored{Manifest: m}}, e.here(), 3)
			if err != nil {
				t.Fatal(err)
			}
			if d == nil {
				d = &draft{}
			}
			if d.To != c.to || d.Barrier != c.barrier || job.To != c.to {
				t.Errorf("a draft up to %d with a barrier at %d, and a job up to %d", d.To, d.Barrier, job.To)
			}
			if c.job.Epoch > m.Epoch && job.Epoch != c.job.Epoch || d.To != 0 && (job.Epoch <= m.Epoch || job.From != 2) {
				t.Errorf("the job is %+v", job)
			}
		})
	}
}
