package datanode

import (
	"reflect"
	"slices"
	"strings"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/search/query"
)

// maxFields bounds the fields in which a word without a field is looked for.
const maxFields = 64

// everywhere makes the parts of a query that name no field look into all fields. bleve itself looks into a field of
// their copies, "_all", which lean mappings do not have: it would find nothing and say nothing.
func everywhere(q query.Query, index bleve.Index) (query.Query, error) {
	if index.Mapping().DefaultSearchField() != "_all" {
		return q, nil
	}
	fields, err := index.Fields()
	if err != nil {
		return nil, err
	}
	if slices.Contains(fields, "_all") {
		return q, nil
	}
	fields = slices.DeleteFunc(fields, func(f string) bool { return strings.HasPrefix(f, "_") })
	slices.Sort(fields)
	e := expander{fields[:min(len(fields), maxFields)]}
	return e.expand(q)
}

type expander struct{ fields []string }

func (e expander) expand(q query.Query) (query.Query, error) {
	var err error
	switch q := q.(type) {
	case nil:
		return nil, nil
	case *query.QueryStringQuery:
		parsed, err := q.Parse()
		if err != nil {
			return nil, err
		}
		return e.expand(parsed)
	case *query.BooleanQuery:
		for _, part := range []*query.Query{&q.Must, &q.Should, &q.MustNot, &q.Filter} {
			if *part, err = e.expand(*part); err != nil {
				return nil, err
			}
		}
	case *query.ConjunctionQuery:
		err = e.all(q.Conjuncts)
	case *query.DisjunctionQuery:
		err = e.all(q.Disjuncts)
	case query.FieldableQuery:
		if q.Field() == "" {
			return e.inFields(q), nil
		}
	}
	return q, err
}

func (e expander) all(parts []query.Query) error {
	for i := range parts {
		var err error
		if parts[i], err = e.expand(parts[i]); err != nil {
			return err
		}
	}
	return nil
}

// inFields copies a query for each field.
func (e expander) inFields(q query.FieldableQuery) query.Query {
	v := reflect.ValueOf(q)
	if v.Kind() != reflect.Pointer {
		return q
	}
	each := make([]query.Query, 0, len(e.fields))
	for _, field := range e.fields {
		twin := reflect.New(v.Elem().Type())
		twin.Elem().Set(v.Elem())
		one := twin.Interface().(query.FieldableQuery)
		one.SetField(field)
		each = append(each, one)
	}
	return query.NewDisjunctionQuery(each)
}
