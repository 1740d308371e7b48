package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// paragraphs are the parts of a text between blank lines.
func paragraphs(name string, text []byte) []document {
	kind := strings.TrimPrefix(path.Ext(name), ".")
	if kind == "" {
		kind = "text"
	}
	var documents []document
	for paragraph := range bytes.SplitSeq(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n\n")) {
		doc := strings.TrimSpace(string(paragraph))
		if doc == "" {
			continue
		}
		title, _, _ := strings.Cut(doc, "\n")
		documents = append(documents, document{
			ID: fmt.Sprintf("%s#%d", name, len(documents)+1), Package: path.Dir(name), Kind: kind, Name: cut(title, 80),
			Doc: cut(doc, maxTextBytes), Lines: strings.Count(doc, "\n") + 1, Bytes: len(doc),
		})
	}
	return documents
}

// objects are the JSON objects of a file, one per line; nil when a line is none.
func objects(name string, text []byte) []document {
	var documents []document
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		var object map[string]any
		if json.Unmarshal(line, &object) != nil || object == nil {
			return nil
		}
		words := strings.Join(strings.Fields(strings.Join(texts(object), " ")), " ")
		documents = append(documents, document{
			ID: fmt.Sprintf("%s#%d", name, len(documents)+1), Package: path.Dir(name), Kind: "object", Name: cut(words, 80),
			Doc: cut(words, maxTextBytes), Code: cut(string(line), maxTextBytes), Lines: 1, Bytes: len(line),
		})
	}
	return documents
}

// texts are the strings in a JSON value, in the order of the keys.
func texts(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		var found []string
		for _, element := range v {
			found = append(found, texts(element)...)
		}
		return found
	case map[string]any:
		var found []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			found = append(found, texts(v[key])...)
		}
		return found
	}
	return nil
}
