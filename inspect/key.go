package inspect

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/driftdb/driftdb-go/internal/keytext"
)

// maxKey bounds the key of a row in an address. A row with a longer one has no page.
const maxKey = 4 << 10 // bytes

// encodeKey writes the key of a row into an address: a JSON object, in which values that
// JSON cannot tell apart are tagged as in the store's own files. It returns "" if there is
// no key, or a very long one.
func encodeKey(key map[string]any) string {
	tagged := make(map[string]any, len(key))
	for name, v := range key {
		switch v := v.(type) {
		case []byte:
			tagged[name] = map[string]string{"$blob": base64.StdEncoding.EncodeToString(v)}
		case float64:
			tagged[name] = map[string]string{"$real": strconv.FormatFloat(v, 'g', -1, 64)}
		case string:
			tagged[name] = v
			if !utf8.ValidString(v) {
				tagged[name] = map[string]string{"$text": base64.StdEncoding.EncodeToString([]byte(v))}
			}
		default:
			tagged[name] = v
		}
	}
	b, err := json.Marshal(tagged)
	if err != nil || len(key) == 0 || len(b) > maxKey {
		return ""
	}
	return string(b)
}

// decodeKey reads what encodeKey has written.
func decodeKey(text string) (map[string]any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var raw map[string]any
	if err := d.Decode(&raw); err != nil || d.More() {
		return nil, bad("the key %s is no JSON object", quoted(shorten(text, 100)))
	}
	for name, v := range raw {
		value, ok := untag(v)
		if !ok {
			return nil, bad("the key has no value for %s that a row can have", quoted(shorten(name, 100)))
		}
		raw[name] = value
	}
	return raw, nil
}

func untag(v any) (any, bool) {
	switch v := v.(type) {
	case nil, string:
		return v, true
	case json.Number:
		n, err := v.Int64()
		return n, err == nil
	case map[string]any:
		for tag, inner := range v {
			text, ok := inner.(string)
			if !ok || len(v) != 1 {
				break
			}
			b, err := base64.StdEncoding.DecodeString(text)
			switch tag {
			case "$blob":
				return b, err == nil
			case "$text":
				return string(b), err == nil
			case "$real":
				f, err := strconv.ParseFloat(text, 64)
				return f, err == nil && !math.IsNaN(f)
			}
		}
	}
	return nil, false
}

// parseKey reads a key that a person has typed, as the command line takes it: the value of
// the key's one column, or column=value for each, separated by commas. sample is the key of
// another row of the table.
func parseKey(text string, sample map[string]any) (map[string]any, error) {
	names := slices.Sorted(maps.Keys(sample))
	if len(names) == 1 {
		if name, value, found := strings.Cut(text, "="); found && name == names[0] {
			text = value
		}
		return map[string]any{names[0]: keytext.Parse(text, sample[names[0]])}, nil
	}
	key := map[string]any{}
	for part := range strings.SplitSeq(text, ",") {
		name, value, found := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		if !found || !slices.Contains(names, name) {
			return nil, bad("the key has the columns %s: write column=value for each, with commas between them", strings.Join(names, ", "))
		}
		key[name] = keytext.Parse(value, sample[name])
	}
	if len(key) != len(names) {
		return nil, bad("the key has the columns %s: write column=value for each, with commas between them", strings.Join(names, ", "))
	}
	return key, nil
}

// keyFlags are the --key flags of the command line for a key.
func keyFlags(key map[string]any) (flags []string) {
	for _, name := range slices.Sorted(maps.Keys(key)) {
		var text string
		switch v := key[name].(type) {
		case string:
			text = v
			if _, err := strconv.ParseFloat(v, 64); err == nil || strings.HasPrefix(v, "'") {
				text = "'" + strings.ReplaceAll(v, "'", "''") + "'"
			}
		default:
			_, text, _ = plain(v, maxKey)
		}
		if len(key) > 1 || strings.Contains(text, "=") {
			text = name + "=" + text
		}
		flags = append(flags, "--key", text)
	}
	return flags
}

// keyText is a key for people.
func keyText(key map[string]any) string {
	parts := make([]string, 0, len(key))
	for _, name := range slices.Sorted(maps.Keys(key)) {
		_, text, whole := plain(key[name], 80)
		if whole > 0 {
			text += "…"
		}
		parts = append(parts, fmt.Sprintf("%s=%s", shorten(name, 60), text))
	}
	return strings.Join(parts, " ")
}
