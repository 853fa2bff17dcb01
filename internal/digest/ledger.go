package digest

import (
	"encoding/binary"
	"sync"

	"github.com/driftdb/driftdb-go/internal/change"
)

const (
	// hashers is how many goroutines a Ledger has: two hash as fast as one
	// reads or replays rows.
	hashers = 2
	// blockSize is how many bytes a hasher gets at a time.
	blockSize = 64 << 10
)

// Ledger is a Set that goroutines of its own bring forward, since hashing a row
// takes about as long as reading it. It is not safe for concurrent use.
type Ledger struct {
	set    Set
	encode encoder
	tables map[string]int // index in names and tallies of each table whose rows changed
	names  []string
	block  []byte // inputs, each preceded by its table, the operation and its length
	work   chan []byte
	free   chan []byte

	hashing sync.WaitGroup // blocks
	running sync.WaitGroup // goroutines

	mu      sync.Mutex
	tallies []tally // what the blocks so far add to each table
}

// NewLedger returns a ledger that starts with s, and takes ownership of it. The
// caller must Close it.
func NewLedger(s Set) *Ledger {
	l := &Ledger{set: s, tables: map[string]int{}, work: make(chan []byte, hashers), free: make(chan []byte, 2*hashers+1)}
	for range hashers {
		l.running.Go(l.hasher)
	}
	return l
}

// Close ends the goroutines and waits for them.
func (l *Ledger) Close() {
	close(l.work)
	l.running.Wait()
}

// Apply brings the set forward over a change, which may be reused when it
// returns.
func (l *Ledger) Apply(e *change.Entry) {
	switch e.Op {
	case change.Insert, change.Update, change.Delete:
	default:
		l.Set().Apply(e)
		return
	}
	if _, known := l.set[e.Table]; !known {
		return
	}
	table, ok := l.tables[e.Table]
	if !ok {
		table = len(l.names)
		l.tables[e.Table] = table
		l.names = append(l.names, e.Table)
	}
	l.encode.entry(e, false, func(input []byte, remove bool) {
		head := uint64(table) << 1
		if remove {
			head |= 1
		}
		l.block = binary.AppendUvarint(l.block, head)
		l.block = binary.AppendUvarint(l.block, uint64(len(input)))
		l.block = append(l.block, input...)
	})
	if len(l.block) >= blockSize {
		l.send()
	}
}

func (l *Ledger) send() {
	if len(l.block) == 0 {
		return
	}
	l.hashing.Add(1)
	l.work <- l.block
	select {
	case l.block = <-l.free:
	default:
		l.block = make([]byte, 0, blockSize+blockSize/4)
	}
}

// Set waits until the set includes all applied changes, and returns it. The caller
// may modify it until the next call of Apply.
func (l *Ledger) Set() Set {
	l.send()
	l.hashing.Wait()
	for i, name := range l.names {
		if sum, known := l.set[name]; known && i < len(l.tallies) {
			t := tallyOf(sum)
			t.add(l.tallies[i])
			l.set[name] = t.sum()
		}
	}
	clear(l.tables)
	l.names, l.tallies = l.names[:0], l.tallies[:0]
	return l.set
}

// Replace discards all that was applied, and continues with s. The ledger takes
// ownership of s.
func (l *Ledger) Replace(s Set) {
	l.Set()
	l.set = s
}

// hasher hashes blocks until there are no more.
func (l *Ledger) hasher() {
	var sums []tally
	for block := range l.work {
		sums = sums[:0]
		for b := block; len(b) > 0; {
			head, n := binary.Uvarint(b)
			size, m := binary.Uvarint(b[n:])
			input := b[n+m : n+m+int(size)]
			b = b[n+m+int(size):]
			for uint64(len(sums)) <= head>>1 {
				sums = append(sums, tally{})
			}
			sums[head>>1].hash(input, head&1 != 0)
		}
		l.merge(sums)
		if cap(block) <= 2*blockSize { // do not keep a block that a large value has grown
			select {
			case l.free <- block[:0]:
			default:
			}
		}
		l.hashing.Done()
	}
}

func (l *Ledger) merge(sums []tally) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, t := range sums {
		if i == len(l.tallies) {
			l.tallies = append(l.tallies, tally{})
		}
		l.tallies[i].add(t)
	}
}
