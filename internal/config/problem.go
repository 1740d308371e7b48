package config

import (
	"fmt"
	"regexp"
	"strings"
)

// Problem is one thing that is wrong with the settings.
type Problem struct {
	Key    string // as in the file: redis.lease
	Value  string // as it was given; *** for what may be a secret
	Source string // where it was set; empty: it is the default
	Advice string // what is wrong and what to do
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Key)
	if p.Value != "" {
		b.WriteString(" = " + p.Value)
	}
	if p.Source != "" {
		b.WriteString(" (" + p.Source + ")")
	}
	return b.String() + ": " + p.Advice
}

// Error is everything that is wrong with the settings.
type Error struct{ Problems []Problem }

func (e *Error) Error() string {
	if len(e.Problems) == 1 {
		return "settings: " + e.Problems[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d mistakes in the settings:", len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

// asError is nil when there is no problem.
func asError(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &Error{Problems: problems}
}

// login finds the user and password of a URL or an address.
var login = regexp.MustCompile(`(^|//|[,\s\["])[^/@,\s]*@`)

// show is how a value is printed: cut, and without any login in it.
func show(value any) string {
	text := fmt.Sprint(value)
	switch v := value.(type) {
	case string:
		text = fmt.Sprintf("%q", v)
	case nil:
		return ""
	}
	text = login.ReplaceAllString(text, "${1}"+hidden+"@")
	if runes := []rune(text); len(runes) > 120 {
		text = string(runes[:117]) + "…"
	}
	return text
}
