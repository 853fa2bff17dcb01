package writer

import "time"

// Lent is the turn as a connection of DB.SQL has it: from the moment at which it wants
// SQLite's write lock until its transaction ends.
type Lent struct{ w *Writer }

// Lend returns the turn for the connections of DB.SQL.
func (w *Writer) Lend() Lent { return Lent{w} }

// Try takes the turn if it is free.
func (l Lent) Try() bool {
	if !l.w.try() {
		return false
	}
	l.w.turn.lend()
	return true
}

// stopEvery is how often a connection that waits for the turn checks whether it was stopped.
const stopEvery = 10 * time.Millisecond

// Wait waits for the turn until limit has passed or stopped returns true.
func (l Lent) Wait(limit time.Duration, stopped func() bool) bool {
	t := &l.w.turn
	c := new(claim)
	t.ask(c)
	end := time.NewTimer(limit)
	defer end.Stop()
	look := time.NewTicker(stopEvery)
	defer look.Stop()
	for ended := false; !ended; {
		select {
		case <-c.ready:
			switch t.look(c) {
			case granted:
				l.w.kept.End()
				t.lend()
				return true
			case over:
				return false
			}
		case <-look.C:
			ended = stopped()
		case <-end.C:
			ended = true
		}
	}
	if !t.withdraw(c) {
		<-c.ready // it was refused meanwhile
		t.look(c)
	}
	return false
}

// Leave gives up the turn.
func (l Lent) Leave() { l.w.leave() }

// GiveWay lets writers run that do not get to.
func (l Lent) GiveWay() { l.w.turn.giveWay() }
