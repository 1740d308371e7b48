// Package jsonobject appends JSON objects to bytes, for the few that are
// written once per task.
package jsonobject

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// Writer appends the members of one object. Its methods leave out what is
// empty or zero, as json's omitempty and omitzero do.
type Writer struct{ b []byte }

// New begins an object behind what b holds.
func New(b []byte) Writer { return Writer{append(b, '{')} }

// End ends the object and returns all bytes.
func (w *Writer) End() []byte { return append(w.b, '}') }

func (w *Writer) key(name string) {
	if w.b[len(w.b)-1] != '{' {
		w.b = append(w.b, ',')
	}
	w.b = append(w.b, '"')
	w.b = append(w.b, name...)
	w.b = append(w.b, '"', ':')
}

// Text writes a string.
func (w *Writer) Text(name, value string) {
	if value == "" {
		return
	}
	w.key(name)
	w.b = appendText(w.b, value)
}

// Number writes a whole number.
func (w *Writer) Number(name string, value int64) {
	if value != 0 {
		w.Int(name, value)
	}
}

// Int writes a whole number, zero too.
func (w *Writer) Int(name string, value int64) {
	w.key(name)
	w.b = strconv.AppendInt(w.b, value, 10)
}

// Float writes a number; what JSON has no word for is left out.
func (w *Writer) Float(name string, value float64) {
	if value == 0 || math.IsNaN(value) || math.IsInf(value, 0) {
		return
	}
	w.key(name)
	w.b = strconv.AppendFloat(w.b, value, 'g', -1, 64)
}

// Millis writes a time in milliseconds since 1970.
func (w *Writer) Millis(name string, value time.Time) {
	if !value.IsZero() {
		w.Number(name, value.UnixMilli())
	}
}

// Time writes a time as time.Time encodes itself.
func (w *Writer) Time(name string, value time.Time) {
	if value.IsZero() {
		return
	}
	w.key(name)
	w.b = append(w.b, '"')
	w.b = value.AppendFormat(w.b, time.RFC3339Nano)
	w.b = append(w.b, '"')
}

// True writes a flag that is set.
func (w *Writer) True(name string, value bool) {
	if value {
		w.key(name)
		w.b = append(w.b, "true"...)
	}
}

// Raw writes what is JSON already; what is not becomes a string, so that it
// cannot spoil the rest.
func (w *Writer) Raw(name string, value json.RawMessage) {
	if len(value) == 0 {
		return
	}
	w.key(name)
	if json.Valid(value) {
		w.b = append(w.b, value...)
	} else {
		w.b = appendText(w.b, string(value))
	}
}

// Bytes writes bytes in base64, as json does; no bytes at all are an empty string.
func (w *Writer) Bytes(name string, value []byte) {
	w.key(name)
	w.b = append(w.b, '"')
	w.b = base64.StdEncoding.AppendEncode(w.b, value)
	w.b = append(w.b, '"')
}

func appendText(b []byte, s string) []byte {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // a string always encodes
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
