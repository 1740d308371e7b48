package config

import (
	"cmp"
	"fmt"
	"os"
	"slices"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// delim separates keys inside koanf. It is not the dot, which the names of
// task types may have.
const delim = "/"

// Sources is where settings come from. The zero value reads the environment
// of the process and the file that it names.
type Sources struct {
	Flags   *pflag.FlagSet // parsed, with the flags of [AddFlags]; nil: none
	Environ []string       // "NAME=value"; nil: the environment of the process
	File    string         // path of the YAML file; empty: what --config or OFFLINE_CONFIG says
}

// Load reads the settings and checks them whole. The error is an [*Error] that
// names every mistake; nothing may start with settings that have one.
func Load(from Sources) (*Settings, error) {
	if from.Environ == nil {
		from.Environ = os.Environ()
	}
	l := &loader{koanf: koanf.New(delim), origins: map[string]string{}}
	l.load(structs.Provider(*Defaults(), "koanf"))
	l.file(from.path())
	l.environ(from.Environ)
	if from.Flags != nil {
		l.flags(from.Flags)
	}
	settings := l.settings()
	l.problems = append(l.problems, settings.readSecrets()...)
	l.problems = append(l.problems, settings.check()...)
	if len(l.problems) == 0 {
		l.problems = settings.checkSections()
	}
	slices.SortStableFunc(l.problems, func(a, b Problem) int { return cmp.Compare(a.Key, b.Key) })
	if err := asError(l.problems); err != nil {
		return nil, err
	}
	return settings, nil
}

// loader lays one source over the other. Every source decodes its values
// before koanf merges them, so that each can be told what is wrong with it.
type loader struct {
	koanf    *koanf.Koanf
	origins  map[string]string
	problems []Problem
}

// accept decodes one value of a source, or notes what is wrong with it.
func (l *loader) accept(path []string, value any, source string) (any, bool) {
	leaf, key := schema.find(path), join(path)
	switch {
	case leaf == nil:
		// The value is not shown: it may be a secret under a misspelled key.
		l.problem(key, "", source, unknown(path))
		return nil, false
	case leaf.typ == nil:
		l.problem(key, "", source, "is a section: set the keys in it")
		return nil, false
	}
	v, err := leaf.decode(value)
	if err != nil {
		shown := show(value)
		if leaf.secret() {
			shown = hidden
		}
		l.problem(key, shown, source, err.Error())
		return nil, false
	}
	l.origins[key] = source
	return v, true
}

func (l *loader) problem(key, value, source, advice string) {
	l.problems = append(l.problems, Problem{Key: key, Value: value, Source: source, Advice: advice})
}

func (l *loader) load(p koanf.Provider) {
	if err := l.koanf.Load(p, nil); err != nil {
		l.problem("settings", "", "", err.Error())
	}
}

func (l *loader) file(path string) {
	if path == "" {
		return
	}
	tree, lines, err := readFile(path)
	if err != nil {
		l.problem("config", show(path), "", err.Error())
		return
	}
	source := func(key []string) string {
		if line := lines[join(key)]; line > 0 {
			return fmt.Sprintf("%s line %d", path, line)
		}
		return path
	}
	l.load(confmap.Provider(l.section(schema, nil, tree, source), ""))
}

// section decodes what the file says below path.
func (l *loader) section(n *node, path []string, tree map[string]any, source func([]string) string) map[string]any {
	decoded := map[string]any{}
	for name, value := range tree {
		key := append(slices.Clip(path), name)
		below := n.child(name)
		subtree, isTree := value.(map[string]any)
		switch {
		case below != nil && below.typ == nil && value == nil: // a section whose keys are all comments
		case below != nil && below.typ == nil && isTree:
			decoded[name] = l.section(below, key, subtree, source)
		default:
			if v, ok := l.accept(key, value, source(key)); ok {
				decoded[name] = v
			}
		}
	}
	return decoded
}

func (l *loader) environ(environ []string) {
	l.load(env.Provider(delim, env.Opt{
		Prefix:      prefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			if reserved(name) {
				return "", nil
			}
			path := variablePath(name)
			v, ok := l.accept(path, value, name)
			if !ok {
				return "", nil
			}
			return joinKoanf(path), v
		},
	}))
}

func (l *loader) flags(set *pflag.FlagSet) {
	l.load(posflag.ProviderWithFlag(set, delim, l.koanf, func(f *pflag.Flag) (string, any) {
		path, ours := flagPath(f)
		if !ours || !f.Changed {
			return "", nil
		}
		v, ok := l.accept(path, f.Value.String(), "--"+f.Name)
		if !ok {
			return "", nil
		}
		return joinKoanf(path), v
	}))
}

// settings is what all sources together say.
func (l *loader) settings() *Settings {
	settings := &Settings{}
	err := l.koanf.UnmarshalWithConf("", settings, koanf.UnmarshalConf{
		DecoderConfig: &mapstructure.DecoderConfig{ErrorUnused: true, ZeroFields: true},
	})
	if err != nil {
		l.problem("settings", "", "", err.Error())
	}
	settings.origins = l.origins
	return settings
}
