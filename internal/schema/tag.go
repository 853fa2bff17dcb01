package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// LowerCamel returns the column name of a field without a tag: userId for UserID, httpPort
// for HTTPPort.
func LowerCamel(name string) string {
	from := []rune(name)
	to := slices.Clone(from)
	to[0] = unicode.ToLower(from[0])
	for i := 1; i < len(from); i++ {
		// A capital continues a word if one precedes it and no small letter follows.
		beforeSmall := i+1 < len(from) && unicode.IsLower(from[i+1])
		if unicode.IsUpper(from[i-1]) && !beforeSmall {
			to[i] = unicode.ToLower(from[i])
		}
	}
	return string(to)
}

type tagOptions struct {
	name                          string
	unique, index, omitZero, json bool
	hasDefault                    bool
	def                           string
}

// parseTag parses name,unique,index,omitzero,json,default=… A default that contains a
// comma is put in single quotes; quotes inside it are doubled.
func parseTag(tag string) (tagOptions, error) {
	var o tagOptions
	o.name, tag, _ = strings.Cut(tag, ",")
	for tag != "" {
		if rest, ok := strings.CutPrefix(tag, "default="); ok {
			var err error
			if o.def, tag, err = cutDefault(rest); err != nil {
				return o, err
			}
			o.hasDefault = true
			continue
		}
		var opt string
		opt, tag, _ = strings.Cut(tag, ",")
		switch opt {
		case "unique":
			o.unique = true
		case "index":
			o.index = true
		case "omitzero":
			o.omitZero = true
		case "json":
			o.json = true
		default:
			return o, fmt.Errorf("unknown option %q: unique, index, omitzero, json and default= are known", opt)
		}
	}
	return o, nil
}

// cutDefault splits off a default, quoted or not, and the comma after it.
func cutDefault(s string) (def, rest string, err error) {
	if !strings.HasPrefix(s, "'") {
		def, rest, _ = strings.Cut(s, ",")
		return def, rest, nil
	}
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] != '\'':
		case i+1 < len(s) && s[i+1] == '\'':
			i++
		case i+1 < len(s) && s[i+1] != ',':
			return "", "", errors.New("a comma must follow the quoted default")
		default:
			def = strings.ReplaceAll(s[1:i], "''", "'")
			return def, strings.TrimPrefix(s[i+1:], ","), nil
		}
	}
	return "", "", errors.New("the quoted default has no end")
}

// parseDefault parses the default in a struct tag: a number, true or false, a time in RFC
// 3339 or Unix milliseconds, JSON, or the text or bytes as they are.
func (t Type) parseDefault(s string) (any, error) {
	var v any
	var err error
	switch t {
	case Integer:
		v, err = strconv.ParseInt(s, 10, 64)
	case Real:
		v, err = strconv.ParseFloat(s, 64)
	case Boolean:
		v, err = strconv.ParseBool(s)
	case Time:
		if v, err = strconv.ParseInt(s, 10, 64); err != nil {
			v, err = time.Parse(time.RFC3339, s)
		}
	case Blob:
		v = []byte(s)
	case JSON:
		v = json.RawMessage(s)
		if !json.Valid([]byte(s)) {
			err = fmt.Errorf("%q is not JSON", s)
		}
	default:
		v = s
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}
