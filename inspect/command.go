package inspect

import (
	"cmp"
	"strings"
)

// command is a command line that does what a page shows, for a POSIX shell.
type command struct {
	About string
	Text  string
}

// command returns a command of driftdb. Words are quoted where the shell needs it.
func (v *visit) command(about, name string, words ...string) command {
	all := []string{"driftdb", name}
	store := cmp.Or(v.h.o.Store, "URL")
	if v.name == "" {
		all = append(all, "--store", store)
	} else {
		all = append(all, "--store", store, "--name", v.name)
	}
	return command{about, join(append(all, words...))}
}

// fileCommand is a command whose first word is the database's own file.
func (v *visit) fileCommand(about, name string, words ...string) command {
	all := []string{"driftdb", name, "FILE", "--store", cmp.Or(v.h.o.Store, "URL"), "--name", v.name}
	return command{about, join(append(all, words...))}
}

func join(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = shellWord(w)
	}
	return strings.Join(quoted, " ")
}

// shellWord quotes a word. What a person would not see is written as $'...' has it, so
// nothing that a name contains can hide, or begin another command.
func shellWord(s string) string {
	plain := s != ""
	hidden := false
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("-_./:=@%+,", r):
		default:
			plain = false
		}
		hidden = hidden || !visible(r)
	}
	switch {
	case plain:
		return s
	case !hidden:
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20 || c >= 0x7f:
			const digits = "0123456789abcdef"
			b.WriteString(`\x`)
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}
