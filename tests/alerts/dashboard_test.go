package alerts_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/telemetry"
	"github.com/prometheus/prometheus/promql/parser"
)

// board is what the test reads of Grafana's dashboard.
type board struct {
	Title      string
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
	Panels []struct {
		ID          int
		Title       string
		Type        string
		Description string
		GridPos     struct{ X, Y, W, H int }
		Targets     []struct{ Expr, RefID string }
	}
}

// TestDashboard: each expression of the dashboard parses, and is about metrics that the
// collector has; each metric is on it; and no two panels are in the same place.
func TestDashboard(t *testing.T) {
	content, err := os.ReadFile("../../driftprom/dashboard.json")
	check(t, err)
	var b board
	check(t, json.Unmarshal(content, &b))
	unseen := map[string]bool{}
	for _, m := range telemetry.Metrics() {
		unseen[m.Prometheus()] = true
	}
	known := len(unseen)
	ids, taken, shown := map[int]bool{}, map[[2]int]string{}, 0
	for _, p := range b.Panels {
		if ids[p.ID] || p.Title == "" || p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("panel %d, %q: its id is not its own, or it lacks a title, a description or an expression", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := taken[at]; other != "" || at[0] >= 24 {
					t.Errorf("panel %q is over %q, or beyond the edge", p.Title, other)
				}
				taken[at] = p.Title
			}
		}
		for _, target := range p.Targets {
			shown++
			for _, name := range metricsOf(t, target.Expr) {
				if _, is := unseen[name]; !is {
					t.Errorf("panel %q: there is no metric %s", p.Title, name)
				}
				unseen[name] = false
			}
		}
	}
	for name, missing := range unseen {
		if missing {
			t.Errorf("%s is not on the dashboard", name)
		}
	}
	if len(unseen) != known || shown == 0 {
		t.Errorf("%d expressions, of %d metrics; there are %d", shown, len(unseen), known)
	}
	for _, v := range b.Templating.List {
		if v.Type == "query" && !strings.Contains(v.Definition, "driftdb_databases") {
			t.Errorf("variable %s: %s", v.Name, v.Definition)
		}
	}
}

// metricsOf parses an expression, in which Grafana's variables have been replaced, and
// returns the metrics in it.
func metricsOf(t *testing.T, expr string) (names []string) {
	t.Helper()
	expr = strings.NewReplacer("$__rate_interval", "5m", "$job", "app", "$instance", ".*").Replace(expr)
	if strings.Contains(expr, "$") {
		t.Errorf("%s: an unknown variable", expr)
	}
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v", expr, err)
		return nil
	}
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			names = append(names, v.Name)
		}
		return nil
	})
	if len(names) == 0 {
		t.Errorf("%s: no metric in it", expr)
	}
	return names
}
