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

// line is a history that a manifest describes, either the main history or a branch, and
// what has been proven of it.
type line struct {
	m      *Manifest
	from   int64      // where it leaves the main history, if it is a branch
	starts []Position // known positions, in order
	// chains holds the chain at the sequences asked for; zero until a walk has passed
	// them.
	chains map[int64]batch.Chain
}

// mainLine is the history that m describes.
func mainLine(m *Manifest) *line {
	l := &line{m: m, chains: map[int64]batch.Chain{}}
	if m.Begins() == 0 {
		l.starts = append(l.starts, m.Genesis())
	}
	l.begin(m.Snapshots)
	return l
}

// begin adds the positions of snapshots to the known ones.
func (l *line) begin(snapshots []Snapshot) {
	for _, s := range snapshots {
		l.starts = append(l.starts, Position{s.Sequence, s.Chain})
	}
}

// spanOf returns the span of the line that batch o belongs to.
func (l *line) spanOf(o Batch) (s Span, found bool) {
	i := slices.IndexFunc(l.m.Lineage, func(s Span) bool {
		return s.NodeID == o.NodeID && s.Epoch == o.Epoch && l.m.own(s)
	})
	if i < 0 {
		return s, false
	}
	s = l.m.Lineage[i]
	return s, o.To >= s.From && (s.To == 0 || o.From <= s.To) && o.To > l.m.Begins()
}

// ask requests the chain at a sequence.
func (l *line) ask(sequence int64) {
	if _, asked := l.chains[sequence]; !asked {
		l.chains[sequence] = batch.Chain{}
	}
}

// prove walks along the line. Where it is damaged, prove continues from the next
// snapshot.
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

// errUnproven means that a batch could not be proven to be part of the history.
var errUnproven = errors.New("it is not part of the manifest's history, as far as that is intact")

// proof holds two positions at which a batch must have the chain of its line.
type proof struct{ from, to Position }

// proof returns the proof for o, which spanOf found in s. Both ends must be known.
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

// provenBatch reads the contents of a batch. If they are not what is proven, it fails
// before it reports the end of the batch.
type provenBatch struct {
	r     *batch.Reader
	read  *bytes.Buffer // read from r but not yet returned
	name  Batch
	proof proof
	met   int // how many of the two positions were met
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

// next reads the next record. It returns io.EOF only if the batch is proven.
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

// meet compares the chain at a sequence with the proof.
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
