package datanode

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/mapping"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// fieldTypes are the short names of field mappings. All but text can be sorted and counted by without reading the
// whole field first; none is stored, the source has everything.
var fieldTypes = map[string]func() *mapping.FieldMapping{
	"text":    textField,
	"keyword": bleve.NewKeywordFieldMapping,
	"number":  bleve.NewNumericFieldMapping,
	"date":    bleve.NewDateTimeFieldMapping,
	"boolean": bleve.NewBooleanFieldMapping,
	"geo":     bleve.NewGeoPointFieldMapping,
}

func textField() *mapping.FieldMapping {
	f := bleve.NewTextFieldMapping()
	f.DocValues = false
	return f
}

// FieldsMapping returns a mapping from the types of fields: text, keyword, number, date, boolean or geo. A dot in a name
// leads into an object. Fields that are not named are indexed by what they hold, as without a mapping.
func FieldsMapping(fields map[string]string) (json.RawMessage, error) {
	m := bleve.NewIndexMapping()
	if err := json.Unmarshal(shard.DefaultMapping(), m); err != nil {
		return nil, fmt.Errorf("default mapping: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		newField := fieldTypes[fields[name]]
		if newField == nil {
			return nil, fmt.Errorf("%w: field %q: type %q is not one of %s", ErrInvalid, name, fields[name],
				strings.Join(slices.Sorted(maps.Keys(fieldTypes)), ", "))
		}
		field := newField()
		field.Store, field.IncludeInAll = false, false
		parent, last, err := into(m.DefaultMapping, name)
		if err != nil {
			return nil, err
		}
		parent.AddFieldMappingsAt(last, field)
	}
	return json.Marshal(m)
}

// into returns the mapping of the object that a field is in.
func into(object *mapping.DocumentMapping, name string) (parent *mapping.DocumentMapping, last string, err error) {
	parts := strings.Split(name, ".")
	if slices.Contains(parts, "") || strings.HasPrefix(name, "_") {
		return nil, "", fmt.Errorf("%w: field %q: names have no empty part and do not begin with _", ErrInvalid, name)
	}
	for _, part := range parts[:len(parts)-1] {
		next := object.Properties[part]
		if next == nil {
			next = bleve.NewDocumentMapping()
			object.AddSubDocumentMapping(part, next)
		}
		object = next
	}
	return object, parts[len(parts)-1], nil
}
