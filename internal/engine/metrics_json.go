package engine

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"time"

	"github.com/driftdb/driftdb-go/internal/schema"
)

// secondsSuffix ends the JSON names of durations: a number alone has no unit.
const secondsSuffix = "Seconds"

// jsonName is a field's name in JSON.
func jsonName(f reflect.StructField) string {
	name := schema.LowerCamel(f.Name)
	if f.Type == reflect.TypeFor[time.Duration]() {
		name += secondsSuffix
	}
	return name
}

// MarshalJSON implements [json.Marshaler].
func (m Metrics) MarshalJSON() ([]byte, error) {
	fields := map[string]any{}
	for f, v := range reflect.ValueOf(m).Fields() {
		switch value := v.Interface().(type) {
		case nil: // no error
		case error:
			fields[jsonName(f)] = value.Error()
		case time.Duration:
			fields[jsonName(f)] = value.Seconds()
		case time.Time, []string:
			if !v.IsZero() {
				fields[jsonName(f)] = value
			}
		default:
			fields[jsonName(f)] = value
		}
	}
	return json.Marshal(fields)
}

// UnmarshalJSON implements [json.Unmarshaler]. An error keeps only its text.
func (m *Metrics) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	var read Metrics
	for f, v := range reflect.ValueOf(&read).Elem().Fields() {
		if text := fields[jsonName(f)]; text != nil {
			if err := unmarshalField(text, v); err != nil {
				return err
			}
		}
	}
	*m = read
	return nil
}

func unmarshalField(b []byte, field reflect.Value) error {
	switch field.Type() {
	case reflect.TypeFor[error]():
		var text string
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
		field.Set(reflect.ValueOf(errors.New(text)))
	case reflect.TypeFor[time.Duration]():
		var seconds float64
		if err := json.Unmarshal(b, &seconds); err != nil {
			return err
		}
		field.SetInt(int64(math.Round(seconds * float64(time.Second))))
	default:
		return json.Unmarshal(b, field.Addr().Interface())
	}
	return nil
}
