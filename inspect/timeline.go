package inspect

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go"
)

const (
	timelineWidth    = 100    // of the drawing, in percent: it is as wide as the page
	timelineBars     = 200    // into which batches are put if there are more
	timelineMarks    = 2000   // drawn; those beyond are to be seen when it is zoomed
	timelineEvents   = 200    // listed below the drawing, and drawn
	barrierWindow    = 20_000 // changes in which barriers are looked for
	timelineSmallest = 10     // changes that it can be zoomed to
)

// timeline is a drawing of a part of the history: changes go from left to right.
type timeline struct {
	From, To int64
	Bars     []bar   // of the batches
	Spans    []shape // of the sessions that wrote
	Branches []shape
	Marks    []shape // snapshots, take-overs, forks and barriers
	Ticks    []tick
	Least    int64 // what is there
	Most     int64
}

// bar is a batch, or several that lie beside each other.
type bar struct {
	X, Width, Y, Height string
	About               string
	Link                string
}

// shape is something in the drawing.
type shape struct {
	Kind     string // session, takeover, snapshot, branch, fork, barrier
	X, Width string
	About    string
	Link     string
	Odd      bool // of sessions, to tell neighbours apart
	Time     time.Time
	At       int64
	Command  string
}

type tick struct {
	X      string
	Text   string
	Anchor string
}

// timelineInput is what a timeline is drawn of.
type timelineInput struct {
	info        driftdb.BackupInfo
	batches     []driftdb.BatchInfo
	forks       []forkView
	barriers    []driftdb.Change
	from, to    int64 // the part that is drawn
	least, most int64
}

// timelineView is a drawing, and where its parts are shown larger.
type timelineView struct {
	Lines timeline
	Base  string
}

// timelineBody is the page of the timeline.
type timelineBody struct {
	timelineView
	Events                     []shape // newest first
	MoreEvents                 int
	In, Out, Left, Right, Full string // links
	Barriers                   bool   // they were looked for
	Log                        string
}

// timelinePage is the timeline, which links zoom.
func (h *Handler) timelinePage(v *visit) (*view, error) {
	info, err := v.backup.Info(v.ctx)
	if err != nil {
		return nil, err
	}
	batches, err := v.backup.Batches(v.ctx)
	if err != nil {
		return nil, err
	}
	in := timelineInput{info: info, batches: batches, forks: v.forks(info), least: info.First, most: max(info.First, info.Sequence)}
	for _, o := range batches {
		in.most = max(in.most, o.To)
	}
	if in.from, in.to, err = v.part(in.least, in.most); err != nil {
		return nil, err
	}
	b := timelineBody{timelineView: timelineView{Base: v.link("timeline")}, Log: v.link("log", "to", fmt.Sprint(in.to)), Barriers: in.to-in.from < barrierWindow}
	if b.Barriers {
		if in.barriers, err = v.barriers(in.from, in.to); err != nil {
			return nil, err
		}
	}
	b.Lines = draw(v, in)
	b.Events = slices.Concat(b.Lines.Marks, b.Lines.Branches)
	slices.SortStableFunc(b.Events, func(x, y shape) int { return cmp.Compare(y.At, x.At) })
	if n := len(b.Events); n > timelineEvents {
		b.Events, b.MoreEvents = b.Events[:timelineEvents], n-timelineEvents
	}
	b.zoom(v, in)
	return &view{template: "timeline", Title: "Timeline", Tab: "Timeline", Body: b, Commands: []command{
		v.command("Print the changes of this part", "log", "--from", fmt.Sprint(in.from), "--to", fmt.Sprint(in.to)),
		v.command("Print its snapshots, branches and forks", "status", "--json"),
	}}, nil
}

// part is the part of the history that the address names, within what there is.
func (v *visit) part(least, most int64) (from, to int64, err error) {
	if from, err = number(v.URL.Query().Get("from"), "from"); err != nil {
		return 0, 0, err
	}
	if to, err = number(v.URL.Query().Get("to"), "to"); err != nil {
		return 0, 0, err
	}
	if to == 0 || to > most {
		to = most
	}
	from = max(least, min(from, to))
	if to-from < timelineSmallest {
		to = min(most, from+timelineSmallest)
		from = max(least, to-timelineSmallest)
	}
	return from, max(from, to), nil
}

// barriers finds the barriers of a part of the log.
func (v *visit) barriers(from, to int64) (out []driftdb.Change, err error) {
	for c, err := range v.changes(v.ctx, driftdb.ChangeQuery{From: from, To: to}) {
		if err != nil {
			return nil, err
		}
		if c.Operation == driftdb.OperationBarrier && len(out) < timelineEvents {
			out = append(out, c)
		}
	}
	return out, nil
}

// zoom makes the links to other parts.
func (b *timelineBody) zoom(v *visit, in timelineInput) {
	length := in.to - in.from + 1
	to := func(from, to int64) string {
		if from == in.from && to == in.to {
			return ""
		}
		return v.link("timeline", "from", fmt.Sprint(from), "to", fmt.Sprint(to))
	}
	if length > timelineSmallest {
		b.In = to(in.from+length/4, in.to-length/4)
	}
	b.Out = to(max(in.least, in.from-length/2), min(in.most, in.to+length/2))
	if step := min(length/2, in.from-in.least); step > 0 {
		b.Left = to(in.from-step, in.to-step)
	}
	if step := min(length/2, in.most-in.to); step > 0 {
		b.Right = to(in.from+step, in.to+step)
	}
	if in.from != in.least || in.to != in.most {
		b.Full = v.link("timeline")
	}
}

// draw places everything that lies in the part.
func draw(v *visit, in timelineInput) timeline {
	d := &drawing{in: in, v: v}
	out := timeline{From: in.from, To: in.to, Least: in.least, Most: in.most, Bars: d.bars(), Ticks: d.ticks()}
	out.Spans, out.Marks = d.sessions()
	for _, s := range in.info.Snapshots {
		out.Marks = d.mark(out.Marks, shape{
			Kind: "snapshot", At: s.Sequence, Time: s.Time, About: fmt.Sprintf("Snapshot after change %d, ", s.Sequence) + size(s.Size),
			Link: v.link("tables", "at", fmt.Sprint(max(1, s.Sequence))),
		})
	}
	if f := in.info.Fork; f != nil {
		out.Marks = d.mark(out.Marks, shape{Kind: "fork", At: f.Sequence, About: "Began as a fork of " + f.Name})
	}
	for _, f := range in.forks {
		if f.Sequence > 0 {
			out.Marks = d.mark(out.Marks, shape{Kind: "fork", At: f.Sequence, About: "The fork " + f.Name + " begins", Link: f.Link})
		}
	}
	for _, c := range in.barriers {
		out.Marks = d.mark(out.Marks, shape{Kind: "barrier", At: c.Sequence, Time: c.Time, About: "Barrier: " + shorten(c.Reason, 200), Link: v.link("tx/" + fmt.Sprint(c.Tx))})
	}
	for _, b := range in.info.Branches {
		if b.From <= in.to && b.To >= in.from {
			s := d.span("branch", b.From, b.To)
			s.At, s.Time, s.About = b.From, b.Time, fmt.Sprintf("Branch %s: changes %d to %d, %s", b.ID, b.From, b.To, size(b.Bytes))
			s.Command = v.command("", "restore", "--branch", b.ID, "--out", "FILE").Text
			out.Branches = append(out.Branches, s)
		}
	}
	return out
}

// drawing turns numbers of changes into places.
type drawing struct {
	in timelineInput
	v  *visit
}

// x is the place of the left edge of a change.
func (d *drawing) x(sequence int64) float64 {
	length := float64(d.in.to - d.in.from + 1)
	return math.Max(0, math.Min(1, float64(sequence-d.in.from)/length)) * timelineWidth
}

func place(f float64) string { return fmt.Sprintf("%.3f", f) }

func (d *drawing) span(kind string, from, to int64) shape {
	left, right := d.x(from), d.x(to+1)
	return shape{Kind: kind, X: place(left), Width: place(math.Max(0.1, right-left))}
}

func (d *drawing) mark(marks []shape, s shape) []shape {
	if s.At < d.in.from-1 || s.At > d.in.to || len(marks) == timelineMarks {
		return marks
	}
	s.X = place(d.x(s.At + 1))
	if s.Kind == "takeover" || s.Kind == "barrier" {
		s.X = place(d.x(s.At))
	}
	return append(marks, s)
}

// sessions are the spans of the sessions, and the places where a node took over.
func (d *drawing) sessions() (spans, marks []shape) {
	for i, w := range d.in.info.Writers {
		to := w.To
		if to == 0 {
			to = d.in.most
		}
		if i > 0 && d.in.info.Writers[i-1].NodeID != w.NodeID {
			marks = d.mark(marks, shape{Kind: "takeover", At: w.From, About: "Node " + w.NodeID + " took over", Link: d.v.link("log", "from", fmt.Sprint(w.From))})
		}
		if w.From > d.in.to || to < d.in.from || to < w.From {
			continue
		}
		s := d.span("session", max(w.From, d.in.from), min(to, d.in.to))
		s.Odd, s.About = i%2 == 1, fmt.Sprintf("Session %d of node %s: changes %d to %d", w.Epoch, flat(w.NodeID), w.From, to)
		if len(spans) > 0 && len(d.in.info.Writers) > timelineBars && s.Width == place(0.1) && spans[len(spans)-1].X == s.X {
			continue // it would lie on top of the one before
		}
		spans = append(spans, s)
	}
	return spans, marks
}

// bars are the batches by their sizes. Their heights grow with the logarithm: a batch of a
// hundred bytes is to be seen beside one of eight megabytes.
func (d *drawing) bars() (out []bar) {
	type pile struct{ from, to, bytes, objects int64 }
	var piles []pile
	for _, o := range d.in.batches {
		if o.To < d.in.from || o.From > d.in.to {
			continue
		}
		piles = append(piles, pile{o.From, o.To, o.Bytes, 1})
	}
	if len(piles) > timelineBars {
		var joined []pile
		step := float64(d.in.to-d.in.from+1) / timelineBars
		for _, p := range piles {
			n := len(joined)
			if n > 0 && int64(float64(p.from-d.in.from)/step) == int64(float64(joined[n-1].from-d.in.from)/step) {
				joined[n-1].to, joined[n-1].bytes, joined[n-1].objects = p.to, joined[n-1].bytes+p.bytes, joined[n-1].objects+1
				continue
			}
			joined = append(joined, p)
		}
		piles = joined
	}
	const height = 60
	for _, p := range piles {
		left, right := d.x(p.from), d.x(p.to+1)
		tall := math.Min(height, 6+(height-6)*math.Log2(1+float64(p.bytes)/64)/18)
		out = append(out, bar{
			X: place(left), Width: place(math.Max(0.08, right-left-0.06)), Y: place(height - tall), Height: place(tall),
			About: fmt.Sprintf("Changes %d to %d: %s in %s", p.from, p.to, size(p.bytes), plural(p.objects, "object", "objects")),
			Link:  d.v.link("log", "to", fmt.Sprint(p.to)),
		})
	}
	return out
}

// ticks are the numbers below the drawing.
func (d *drawing) ticks() (out []tick) {
	length := d.in.to - d.in.from + 1
	step := int64(1)
	for n := 0; length/step > 6; n++ {
		if step *= 2; n%3 == 1 { // 1, 2, 5, 10
			step = step / 4 * 5
		}
	}
	for at := (d.in.from + step - 1) / step * step; at <= d.in.to && len(out) < 20; at += step {
		x := d.x(at)
		t := tick{X: place(x), Text: count(at), Anchor: "middle"}
		switch {
		case x < 4:
			t.Anchor = "start"
		case x > timelineWidth-4:
			t.Anchor = "end"
		}
		out = append(out, t)
	}
	return out
}
