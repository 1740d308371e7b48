package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decode turns what a source gave (text from the environment and from flags;
// what YAML makes of it from the file) into a value of the leaf's type.
func (n *node) decode(value any) (any, error) {
	v, err := decodeAs(n.typ, value)
	if err != nil {
		return nil, err
	}
	if text, ok := v.(string); ok && len(n.oneof) > 0 && text != "" && !slices.Contains(n.oneof, text) {
		advice := "write one of " + strings.Join(n.oneof, ", ")
		if near := nearest(text, n.oneof); near != "" {
			advice += ": did you mean " + near + "?"
		}
		return nil, errors.New(advice)
	}
	return v, nil
}

func decodeAs(t reflect.Type, value any) (any, error) {
	if value == nil {
		return nil, errors.New("has no value: give one, or leave the line out for the default")
	}
	switch t {
	case reflect.TypeFor[time.Duration]():
		return parseDuration(fmt.Sprint(value))
	case reflect.TypeFor[Bytes]():
		return parseBytes(fmt.Sprint(value))
	}
	switch t.Kind() {
	case reflect.String:
		return decodeString(t, value)
	case reflect.Bool:
		return decodeBool(value)
	case reflect.Float64:
		return decodeFloat(value)
	case reflect.Slice:
		return decodeList(t, value)
	default:
		return decodeInt(t, value)
	}
}

func decodeString(t reflect.Type, value any) (any, error) {
	switch text := value.(type) {
	case string:
		return reflect.ValueOf(text).Convert(t).Interface(), nil
	case map[string]any, []any:
		return nil, errors.New("write one text, not a list or a section")
	default:
		// 0123 and 1e3 are numbers to YAML: what was meant is lost.
		return nil, errors.New("put the text in quotes: without them YAML reads it as something else")
	}
}

func decodeBool(value any) (any, error) {
	if b, ok := value.(bool); ok {
		return b, nil
	}
	switch fmt.Sprint(value) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return nil, errors.New("write true or false")
}

func decodeFloat(value any) (any, error) {
	f, err := strconv.ParseFloat(fmt.Sprint(value), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, errors.New("write a number such as 0.5")
	}
	return f, nil
}

func decodeInt(t reflect.Type, value any) (any, error) {
	v := reflect.New(t).Elem()
	i, err := strconv.ParseInt(fmt.Sprint(value), 10, 64)
	if err != nil {
		return nil, errors.New("write a whole number")
	}
	if v.OverflowInt(i) {
		return nil, fmt.Errorf("the number is too large: at most %d", int64(1)<<(t.Bits()-1)-1)
	}
	v.SetInt(i)
	return v.Interface(), nil
}

// decodeList reads a YAML list, or text with commas; empty text is an empty list.
func decodeList(t reflect.Type, value any) (any, error) {
	items, ok := value.([]any)
	if !ok {
		text, ok := value.(string)
		if !ok {
			return nil, errors.New("write a list: [a, b]")
		}
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				items = append(items, part)
			}
		}
	}
	list := reflect.MakeSlice(t, 0, len(items))
	for i, item := range items {
		v, err := decodeAs(t.Elem(), item)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		list = reflect.Append(list, reflect.ValueOf(v))
	}
	return list.Interface(), nil
}
