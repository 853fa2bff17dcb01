package repository_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// filledMetrics has a value of its own in every field, also in those to come.
func filledMetrics(t *testing.T) driftdb.Metrics {
	var m driftdb.Metrics
	v := reflect.ValueOf(&m).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Interface().(type) {
		case bool:
			f.SetBool(true)
		case time.Duration:
			f.SetInt(int64(time.Hour) + int64(i)*1_000_001)
		case int, int64:
			f.SetInt(int64(i) + 1<<53)
		case time.Time:
			f.Set(reflect.ValueOf(time.Date(2024, 2, 29, 12, 30, i, 123456789, time.UTC)))
		case []string:
			f.Set(reflect.ValueOf([]string{fmt.Sprint(i)}))
		default:
			if v.Type().Field(i).Type != reflect.TypeFor[error]() {
				t.Fatalf("%s is a %s: say here what it looks like", v.Type().Field(i).Name, f.Type())
			}
			f.Set(reflect.ValueOf(fmt.Errorf("error %d", i)))
		}
	}
	return m
}

// TestMetricsJSON: every field is in the JSON, under a name of its own in lower camel
// case and in the form that Metrics says, and comes back from it.
func TestMetricsJSON(t *testing.T) {
	for _, m := range []driftdb.Metrics{filledMetrics(t), {}} {
		b, err := json.Marshal(m)
		systemtest.Check(t, err)
		var again driftdb.Metrics
		systemtest.Check(t, json.Unmarshal(b, &again))
		if fmt.Sprint(m.LastError) != fmt.Sprint(again.LastError) {
			t.Errorf("the error %v came back as %v", m.LastError, again.LastError)
		}
		m.LastError, again.LastError = nil, nil
		if !reflect.DeepEqual(m, again) {
			t.Errorf("%+v came back as %+v", m, again)
		}
	}
	b, err := json.Marshal(filledMetrics(t))
	systemtest.Check(t, err)
	var fields map[string]any
	systemtest.Check(t, json.Unmarshal(b, &fields))
	if want := reflect.TypeFor[driftdb.Metrics]().NumField(); len(fields) != want {
		t.Errorf("%d fields of %d: %s", len(fields), want, b)
	}
	for name, v := range fields {
		field, ok := reflect.TypeFor[driftdb.Metrics]().FieldByNameFunc(func(f string) bool {
			return strings.EqualFold(f, strings.TrimSuffix(name, "Seconds"))
		})
		if !ok || name[0] < 'a' {
			t.Errorf("%s is the name of no field in lower camel case", name)
			continue
		}
		switch field.Type {
		case reflect.TypeFor[time.Duration]():
			if f, ok := v.(float64); !ok || !strings.HasSuffix(name, "Seconds") || f < 3600 || f > 3601 {
				t.Errorf("%s is %v", name, v)
			}
		case reflect.TypeFor[time.Time]():
			if _, err := time.Parse(time.RFC3339, v.(string)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if fields["walSizeBytes"] == nil || fields["lastError"] == nil || fields["oldestPendingAgeSeconds"] == nil {
		t.Errorf("names: %s", b)
	}
	if b, err := json.Marshal(driftdb.Metrics{LastError: errors.New("x")}); err != nil || strings.Contains(string(b), "lastSyncAt") || strings.Contains(string(b), "null") {
		t.Errorf("%s, %v", b, err)
	}
	for _, wrong := range []string{`{"lastSyncAt": "yesterday"}`, `{"oldestReadSeconds": "1s"}`, `{"lastError": 1}`, `[]`} {
		if err := json.Unmarshal([]byte(wrong), new(driftdb.Metrics)); err == nil {
			t.Errorf("%s was read", wrong)
		}
	}
	if _, err := json.Marshal(newDB(t).Metrics()); err != nil {
		t.Error(err)
	}
}
