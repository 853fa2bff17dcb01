package backup_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// governed is a store in the bucket my-backups that allows what a policy of
// docs/PROVIDERS.md allows, and refuses the rest, as S3 does.
type governed struct {
	objstore.Store
	policy struct {
		Statement []struct {
			Sid              string
			Action, Resource []string
		}
	}
}

const bucketARN = "arn:aws:s3:::my-backups"

// underPolicy returns store under the policy whose statements begin with sid. narrowed
// changes its text.
func underPolicy(t *testing.T, store objstore.Store, sid string, narrowed *strings.Replacer) objstore.Store {
	t.Helper()
	doc := systemtest.ReadDoc(t, "docs/PROVIDERS.md")
	for _, block := range regexp.MustCompile("(?ms)^```json\n(.*?)^```$").FindAllStringSubmatch(doc, -1) {
		g := &governed{Store: store}
		systemtest.Check(t, json.Unmarshal([]byte(narrowed.Replace(block[1])), &g.policy))
		if s := g.policy.Statement; len(s) > 0 && strings.HasPrefix(s[0].Sid, sid) {
			return g
		}
	}
	t.Fatalf("PROVIDERS.md has no policy %s", sid)
	return nil
}

func (g *governed) may(action, resource string) error {
	for _, s := range g.policy.Statement {
		for _, pattern := range s.Resource {
			prefix, isPrefix := strings.CutSuffix(pattern, "*")
			if slices.Contains(s.Action, action) && (pattern == resource || isPrefix && strings.HasPrefix(resource, prefix)) {
				return nil
			}
		}
	}
	return fmt.Errorf("%s on %s: %w", action, resource, fs.ErrPermission)
}

func arn(key string) string { return path.Join(bucketARN, "driftdb", key) }

func (g *governed) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	if err := g.may("s3:PutObject", arn(key)); err != nil {
		return objstore.Info{}, err
	}
	return g.Store.Put(ctx, key, body, opts)
}

func (g *governed) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	if err := g.may("s3:GetObject", arn(key)); err != nil {
		return nil, objstore.Info{}, err
	}
	return g.Store.Get(ctx, key, opts)
}

func (g *governed) Delete(ctx context.Context, key string) error {
	if err := g.may("s3:DeleteObject", arn(key)); err != nil {
		return err
	}
	return g.Store.Delete(ctx, key)
}

func (g *governed) List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	if err := g.may("s3:ListBucket", bucketARN); err != nil {
		return func(yield func(objstore.Info, error) bool) { yield(objstore.Info{}, err) }
	}
	return g.Store.List(ctx, prefix, opts)
}

// TestPolicies: the policies of docs/PROVIDERS.md are enough for those whom they are for,
// also when they are narrowed to one database; and the reader's allows no change.
func TestPolicies(t *testing.T) {
	for name, narrowed := range map[string]*strings.Replacer{
		"whole prefix": strings.NewReplacer(),
		"one database": strings.NewReplacer("driftdb/*", "driftdb/databases/app/*"),
	} {
		t.Run(name, func(t *testing.T) {
			ctx, bucket := t.Context(), objstore.Mem()
			cfg := systemtest.Config(t)
			cfg.Store = underPolicy(t, bucket, "DriftDBWriter", narrowed)
			db := systemtest.Open(t, cfg)
			for range 3 {
				systemtest.Some(t, db, "t", 5)
				systemtest.Check(t, db.Flush(ctx))
			}
			_, err := db.Snapshot(ctx)
			systemtest.Check(t, err)
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('later')")
			if _, _, err := db.CollectGarbage(ctx); err != nil {
				t.Fatal(err)
			}
			before := systemtest.BucketOf(t, bucket)
			readAll(t, driftdb.BackupConfig{Name: cfg.Name, Store: underPolicy(t, bucket, "DriftDBReader", narrowed)})
			if after := systemtest.BucketOf(t, bucket); len(after) != len(before) {
				t.Errorf("reading has made %d objects of %d", len(after), len(before))
			}
		})
	}
}

// readAll does with a backup all that only reads.
func readAll(t *testing.T, cfg driftdb.BackupConfig) {
	t.Helper()
	ctx := t.Context()
	names, err := driftdb.ListBackups(ctx, cfg)
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	b, err := driftdb.OpenBackup(ctx, cfg)
	systemtest.Check(t, err)
	info, err := b.Info(ctx)
	systemtest.Check(t, err)
	_, err = b.Verify(ctx, driftdb.RestoreOptions{})
	systemtest.Check(t, err)
	_, err = b.Restore(ctx, filepath.Join(t.TempDir(), "r.sqlite"), driftdb.RestoreOptions{At: driftdb.Point{Sequence: info.Sequence - 1}})
	systemtest.Check(t, err)
	for _, err := range b.Changes(ctx, driftdb.ChangeQuery{}) {
		systemtest.Check(t, err)
	}
	for _, err := range b.Diff(ctx, driftdb.Point{Sequence: 1}, driftdb.Point{}) {
		systemtest.Check(t, err)
	}
	past, err := b.View(ctx, driftdb.Point{})
	systemtest.Check(t, err)
	systemtest.Check(t, past.Close())
	_, err = b.Garbage(ctx, 0)
	systemtest.Check(t, err)
}
