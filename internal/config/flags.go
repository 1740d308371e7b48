package config

import (
	"reflect"
	"strings"

	"github.com/spf13/pflag"
)

const (
	fileFlag   = "config"
	annotation = "config.key"
)

// AddFlags gives a program --config and one flag per setting, named like its
// key. Help shows those that most people need; passwords have none, because
// command lines can be read by others. [Load] takes only flags that were set.
func AddFlags(set *pflag.FlagSet) {
	set.String(fileFlag, "", "settings file, YAML (or "+fileEnv+")")
	defaults := reflect.ValueOf(*Defaults())
	schema.leaves(nil, func(path []string, leaf *node) {
		if leaf.secret() {
			return
		}
		v := &flagValue{text: plain(field(defaults, path)), kind: kindOf(leaf.typ)}
		f := set.VarPF(v, join(path), "", usage(leaf))
		f.Annotations = map[string][]string{annotation: path}
		f.Hidden = !leaf.common
		if v.kind == "bool" {
			f.NoOptDefVal = "true"
		}
	})
}

// flagPath is the key that a flag sets, if it is one of AddFlags.
func flagPath(f *pflag.Flag) ([]string, bool) {
	path, ours := f.Annotations[annotation]
	return path, ours
}

func usage(leaf *node) string {
	if len(leaf.oneof) == 0 {
		return leaf.help
	}
	return leaf.help + ": " + strings.Join(leaf.oneof, ", ")
}

// flagValue keeps a flag's text: Load reads it like every other source.
type flagValue struct{ text, kind string }

func (v *flagValue) String() string        { return v.text }
func (v *flagValue) Set(text string) error { v.text = text; return nil }
func (v *flagValue) Type() string          { return v.kind }

func kindOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Bytes]():
		return "size"
	case t.Name() == "Duration":
		return "duration"
	case t.Kind() == reflect.Slice:
		return "list"
	case t.Kind() == reflect.Bool:
		return "bool"
	case t.Kind() == reflect.String:
		return "string"
	default:
		return "number"
	}
}
