package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/driftdb/driftdb-go/internal/batch"
)

// line is a history that a manifest describes, the one that counts or that of a branch,
// and what is proven of it.
type line struct {
	m      *Manifest
	from   int64      // where it leaves the one that counts, if it is a branch
	starts []Position // that are known, in their order
	// chains has the chain at the sequences that somebody asks for, once a walk has
	// come there: zero until then.
	chains map[int64]batch.Chain
}

// mainLine is the history that m describes.
func mainLine(m *Manifest) *line {
	l := &line{m: m, chains: map[int64]batch.Chain{}}
	if m.Begins() == 0 {
		l.starts = append(l.starts, Position{Chain: batch.Genesis(m.DatabaseID)})
	}
	l.begin(m.Snapshots)
	return l
}

// begin makes the states of snapshots known.
func (l *line) begin(snapshots []Snapshot) {
	for _, s := range snapshots {
		l.starts = append(l.starts, Position{s.Sequence, s.Chain})
	}
}

// spanOf is the part of the line that batch o belongs to.
func (l *line) spanOf(o Batch) (s Span, found bool) {
	i := slices.IndexFunc(l.m.Lineage, func(s Span) bool { return s.NodeID == o.NodeID && s.Epoch == o.Epoch })
	if i < 0 {
		return s, false
	}
	s = l.m.Lineage[i]
	return s, o.To >= s.From && (s.To == 0 || o.From <= s.To) && o.To > l.m.Begins()
}

// ask wants to know the chain at a sequence.
func (l *line) ask(sequence int64) {
	if _, asked := l.chains[sequence]; !asked {
		l.chains[sequence] = batch.Chain{}
	}
}

// prove walks along the line. Where it is damaged, it goes on from the next snapshot.
func (l *line) prove(ctx context.Context, b *Bucket) error {
	reached := int64(-1)
	for _, at := range l.starts {
		if at.Sequence <= reached || at.Sequence < l.m.Begins() {
			continue
		}
		l.chains[at.Sequence] = at.Chain
		w := newWalk(ctx, b, l.m, at)
		w.chains = l.chains
		err := w.run()
		w.ahead.close()
		if err != nil && !IsDamage(err) {
			return err
		}
		reached = w.pos.Sequence
	}
	return nil
}

// errUnproven says that a batch is not known to be what it is called.
var errUnproven = errors.New("it is not part of the manifest's history, as far as that is intact")

// proof is where the chain of a batch must be the one of its line.
type proof struct{ from, to Position }

// proof of o, which spanOf has found in s. Nothing less than both ends will do.
func (l *line) proof(o Batch, s Span) (p proof, err error) {
	known := func(sequence int64) bool { return l.chains[sequence] != batch.Chain{} }
	p.from.Sequence, p.to.Sequence = o.From-1, cut(s, o)
	for _, at := range l.starts {
		if !known(p.from.Sequence) && at.Sequence > p.from.Sequence {
			p.from.Sequence = at.Sequence
		}
	}
	if !known(p.from.Sequence) || !known(p.to.Sequence) || p.from.Sequence >= p.to.Sequence {
		return p, errUnproven
	}
	p.from.Chain, p.to.Chain = l.chains[p.from.Sequence], l.chains[p.to.Sequence]
	return p, nil
}

// provenBatch gives the contents of a batch, and fails at its end, before it is told, if
// they are not what is proven.
type provenBatch struct {
	r     *batch.Reader
	read  *bytes.Buffer // what has been read of it and not given on
	name  Batch
	proof proof
	met   int // of the two positions
}

func (b *Bucket) provenBatch(databaseID string, name Batch, sealed io.Reader, p proof) (io.Reader, error) {
	read := new(bytes.Buffer)
	r, err := b.teeBatch(databaseID, name, sealed, read)
	if err != nil {
		return nil, err
	}
	out := &provenBatch{r: r, read: read, name: name, proof: p}
	return out, out.meet(name.From-1, r.Chain())
}

func (p *provenBatch) Read(dst []byte) (int, error) {
	for p.read.Len() == 0 {
		if err := p.next(); err != nil {
			return 0, err
		}
	}
	return p.read.Read(dst)
}

// next reads on. io.EOF is for a batch that is the right one.
func (p *provenBatch) next() error {
	rec, err := p.r.Next()
	switch {
	case err == io.EOF && (p.met != 2 || p.r.Trailer().To != p.name.To):
		return errUnproven
	case err != nil:
		return err
	case rec.Last:
		return p.meet(rec.End(), p.r.Chain())
	}
	return nil
}

// meet compares the chain at a sequence.
func (p *provenBatch) meet(sequence int64, chain batch.Chain) error {
	for _, want := range []Position{p.proof.from, p.proof.to} {
		if want.Sequence != sequence {
			continue
		}
		if want.Chain != chain {
			return fmt.Errorf("it %w at sequence %d", errApart, sequence)
		}
		p.met++
	}
	return nil
}
