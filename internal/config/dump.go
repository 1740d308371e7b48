package config

import (
	"cmp"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	yamlv3 "go.yaml.in/yaml/v3"
)

// Dump writes the settings as YAML that Load would read, each changed key with
// a comment that says where it was set. Secrets show as ***.
func (s *Settings) Dump(w io.Writer) error {
	encoder := yamlv3.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(s.yaml(schema, reflect.ValueOf(*s), nil)); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return encoder.Close()
}

// yaml builds the document below path, in the order of the fields.
func (s *Settings) yaml(n *node, v reflect.Value, path []string) *yamlv3.Node {
	switch {
	case n.each != nil:
		return s.yamlMap(n, v, path)
	case n.typ != nil:
		return yamlLeaf(v)
	}
	mapping := &yamlv3.Node{Kind: yamlv3.MappingNode}
	for _, c := range n.children {
		value := v.Field(c.index)
		if value.Kind() == reflect.Pointer {
			if value.IsNil() {
				continue
			}
			value = value.Elem()
		}
		s.entry(mapping, c, value, append(slices.Clip(path), c.name))
	}
	return mapping
}

func (s *Settings) yamlMap(n *node, v reflect.Value, path []string) *yamlv3.Node {
	mapping := &yamlv3.Node{Kind: yamlv3.MappingNode}
	if v.Len() == 0 {
		mapping.Style = yamlv3.FlowStyle
	}
	names := v.MapKeys()
	slices.SortFunc(names, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
	for _, name := range names {
		s.entry(mapping, n.each, v.MapIndex(name), append(slices.Clip(path), name.String()))
	}
	return mapping
}

func (s *Settings) entry(mapping *yamlv3.Node, n *node, v reflect.Value, path []string) {
	value := s.yaml(n, v, path)
	if origin := s.origins[join(path)]; origin != "" {
		value.LineComment = origin
	}
	mapping.Content = append(mapping.Content, &yamlv3.Node{Kind: yamlv3.ScalarNode, Value: path[len(path)-1]}, value)
}

func yamlLeaf(v reflect.Value) *yamlv3.Node {
	if v.Kind() == reflect.Slice {
		list := &yamlv3.Node{Kind: yamlv3.SequenceNode, Style: yamlv3.FlowStyle}
		for i := range v.Len() {
			list.Content = append(list.Content, yamlLeaf(v.Index(i)))
		}
		return list
	}
	leaf := &yamlv3.Node{Kind: yamlv3.ScalarNode, Value: plain(v)}
	if v.Kind() == reflect.String {
		leaf.SetString(plain(v))
		if leaf.Value == "" {
			leaf.Style = yamlv3.DoubleQuotedStyle
		}
	}
	return leaf
}

// plain is a value as the environment and flags give it.
func plain(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Duration:
		return formatDuration(value)
	case []string:
		return strings.Join(value, ",")
	case []time.Duration:
		parts := make([]string, len(value))
		for i, d := range value {
			parts[i] = formatDuration(d)
		}
		return strings.Join(parts, ",")
	default:
		return fmt.Sprint(value)
	}
}

// field is the value of a leaf. There is no map on its path.
func field(settings reflect.Value, path []string) reflect.Value {
	n := schema
	for _, name := range path {
		n = n.child(name)
		settings = settings.Field(n.index)
	}
	return settings
}
