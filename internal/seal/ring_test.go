package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestParseKeys(t *testing.T) {
	if r, err := ParseKeys(nil); r != nil || err != nil {
		t.Errorf("no keys: %v, %v; want a nil ring", r, err)
	}
	secret := strings.Repeat("5ec2e7", 11) // too long, and easy to spot
	for name, keys := range map[string][]string{
		"1 of 1 has 0 bytes":                {""},
		"1 of 1 has 63 bytes":               {secret[:63]},
		"2 of 2 has 66 bytes":               {keyA, secret},
		"2 of 3 is not hex at byte 64":      {keyA, secret[:63] + "g", keyB},
		"1 of 1 is not hex at byte 1":       {" " + secret[:63]},
		"2 of 2 is the same as key 1":       {keyA, strings.ToUpper(keyA)},
		"3 of 3 is the same as key 2":       {keyA, keyB, strings.ToLower(keyB)},
		"2 of 2 is not hex at byte 63; a k": {keyA, secret[:62] + "é"},
	} {
		_, err := ParseKeys(keys)
		if !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "5ec2e7") {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

func TestKeyIDIsFrozen(t *testing.T) {
	if got := ring(t, keyA, keyB).KeyIDs(); fmt.Sprint(got) != "[f880e41f9c663222 c8675d5540f048ee]" {
		t.Errorf("key ids are %v", got)
	}
}

func TestRingNeverPrintsKeys(t *testing.T) {
	r := ring(t, keyA, keyB)
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "ring", r, "options", Options{Ring: r})
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "ring", r, "options", Options{Ring: r})
	asJSON, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	out := logged.String() + string(asJSON)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q"} {
		out += fmt.Sprintf(verb+"\n", r) + fmt.Sprintf(verb+"\n", *r) + fmt.Sprintf(verb+"\n", Options{Ring: r})
	}
	for _, leak := range []string{"a1a1", "A1A1", "161 161", "b2b2", "B2B2", "178 178", "0xa1", "0xb2"} {
		if strings.Contains(out, leak) {
			t.Errorf("%q leaks in\n%s", leak, out)
		}
	}
	if id := r.KeyIDs()[1]; !strings.Contains(fmt.Sprint(r), id) || !strings.Contains(logged.String(), `"ring":["`+r.KeyIDs()[0]+`","`+id) {
		t.Errorf("the key ids are not in %v or in the log\n%s", r, &logged)
	}
}

func TestMAC(t *testing.T) {
	data := []byte(`{"latestLogSequence":7}`)
	tag, err := ring(t, keyA, keyB).MAC("manifest of db-1", data)
	if err != nil {
		t.Fatal(err)
	}
	const frozen = "f880e41f9c663222:9a5b2ddba747773080a49fcf504b3d68e46608bcb4f75ae06c6723d586733277"
	if tag != frozen {
		t.Errorf("tag is %s, want %s", tag, frozen)
	}
	both := ring(t, keyB, keyA)
	for _, c := range []struct {
		name    string
		ring    *Ring
		context string
		data    string
		tag     string
		want    error
	}{
		{"any key of the ring", both, "manifest of db-1", string(data), tag, nil},
		{"other data", both, "manifest of db-1", `{"latestLogSequence":8}`, tag, ErrCorrupt},
		{"other context", both, "manifest of db-2", string(data), tag, ErrCorrupt},
		{"border moved", both, "manifest of db-1{", string(data[1:]), tag, ErrCorrupt},
		{"tag of another key", both, "manifest of db-1", string(data), both.KeyIDs()[0] + tag[16:], ErrCorrupt},
		{"tag cut", both, "manifest of db-1", string(data), tag[:len(tag)-1], ErrCorrupt},
		{"tag without sum", both, "manifest of db-1", string(data), tag[:17], ErrCorrupt},
		{"tag not hex", both, "manifest of db-1", string(data), "x" + tag[1:], ErrCorrupt},
		{"tag removed", both, "manifest of db-1", string(data), "", ErrPlaintext},
		{"key missing", ring(t, keyB), "manifest of db-1", string(data), tag, ErrKey},
		{"no keys", nil, "manifest of db-1", string(data), tag, ErrKey},
		{"no keys, no tag", nil, "manifest of db-1", string(data), "", nil},
	} {
		if err := c.ring.VerifyMAC(c.context, []byte(c.data), c.tag); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if tag, err := (*Ring)(nil).MAC("x", data); tag != "" || err != nil {
		t.Errorf("a nil ring tags %q, %v", tag, err)
	}
}
