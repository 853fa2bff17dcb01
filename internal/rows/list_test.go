package rows

import "testing"

func TestList(t *testing.T) {
	for _, n := range []int{0, 1, firstPart, firstPart + 1, 3*firstPart + 1, 5*longestPart + 3} {
		var l list[int]
		for i := range n {
			if p := l.next(); *p != 0 {
				t.Fatalf("row %d of %d is %d before it is set", i, n, *p)
			} else {
				*p = i + 1
			}
		}
		got := l.slice()
		if got == nil || len(got) != n {
			t.Fatalf("%d rows of %d, nil: %v", len(got), n, got == nil)
		}
		for i, v := range got {
			if v != i+1 {
				t.Fatalf("row %d of %d is %d", i, n, v)
			}
		}
	}
}
