package remote

import "testing"

func TestExtent(t *testing.T) {
	for e, ok := range map[Extent]bool{
		{}: true, {1, 512}: true, {1 << 32, 65536}: true,
		{0, 512}: false, {-1, 512}: false, {1<<32 + 1, 512}: false, {1, 0}: false, {1, 256}: false, {1, 1000}: false, {1, 128 << 10}: false,
	} {
		if err := e.check(); (err == nil) != ok {
			t.Errorf("%+v: %v", e, err)
		}
		if limit := e.Limit(4096); ok && (limit > 0) != (e != Extent{}) {
			t.Errorf("%+v: the limit is %d", e, limit)
		}
	}
	m := &Manifest{}
	m.Grow(Extent{2, 512})
	m.Grow(Extent{1, 4096})
	if want := (Extent{2, 4096}); m.Largest != want {
		t.Errorf("%+v, want %+v", m.Largest, want)
	}
	silent := &Manifest{LatestSequence: 1}
	if silent.Grow(Extent{2, 512}); silent.Largest != (Extent{}) {
		t.Errorf("nobody knows what has been, and it says %+v", silent.Largest)
	}
}
