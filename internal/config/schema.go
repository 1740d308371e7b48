package config

import (
	"reflect"
	"slices"
	"strings"
)

// node is one key of the settings: a section with children, a map whose
// entries all look like each, or a leaf.
type node struct {
	name     string
	index    int          // of the field in its struct
	typ      reflect.Type // of a leaf, without its pointer
	children []*node
	each     *node
	help     string
	oneof    []string
	common   bool
}

// schema is every key there is, read off the fields of Settings.
var schema = section(reflect.TypeFor[Settings]())

func section(t reflect.Type) *node {
	n := &node{}
	for i := range t.NumField() {
		field := t.Field(i)
		if !field.IsExported() {
			continue
		}
		child := key(field.Type)
		child.name, child.index = field.Tag.Get("koanf"), i
		child.help, child.common = field.Tag.Get("help"), field.Tag.Get("common") != ""
		child.oneof = strings.Fields(field.Tag.Get("oneof"))
		n.children = append(n.children, child)
	}
	return n
}

func key(t reflect.Type) *node {
	switch t.Kind() {
	case reflect.Struct:
		return section(t)
	case reflect.Map:
		return &node{each: key(t.Elem())}
	case reflect.Pointer:
		return &node{typ: t.Elem()}
	default:
		return &node{typ: t}
	}
}

// child returns the key below n, or nil.
func (n *node) child(name string) *node {
	if n.each != nil {
		return n.each
	}
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// find returns the key at path, or nil.
func (n *node) find(path []string) *node {
	for _, name := range path {
		if n = n.child(name); n == nil {
			return nil
		}
	}
	return n
}

func (n *node) secret() bool { return n.typ == reflect.TypeFor[Secret]() }

// leaves calls visit for every leaf but those of maps, in the order of the fields.
func (n *node) leaves(path []string, visit func(path []string, leaf *node)) {
	for _, c := range n.children {
		below := append(slices.Clip(path), c.name)
		if c.typ != nil {
			visit(below, c)
		} else {
			c.leaves(below, visit)
		}
	}
}

// join writes a path as users write it.
func join(path []string) string { return strings.Join(path, ".") }

// joinKoanf writes a path as koanf splits it.
func joinKoanf(path []string) string { return strings.Join(path, delim) }
