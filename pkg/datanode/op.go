package datanode

import (
	"encoding/json"
	"fmt"
)

// Kind is what an Op does.
type Kind uint8

// The kinds of writes.
const (
	Index  Kind = iota + 1 // write a document, replacing the one that has its ID
	Create                 // write a document unless its ID is taken
	Update                 // lay an object over the document, field by field
	Delete                 // delete a document
)

var kindNames = [...]string{"", "index", "create", "update", "delete"}

// ParseKind reads the name of a kind.
func ParseKind(name string) (Kind, error) {
	for k := Index; k <= Delete; k++ {
		if kindNames[k] == name {
			return k, nil
		}
	}
	return 0, fmt.Errorf("%w: unknown action %q: use index, create, update or delete", ErrInvalid, name)
}

// String returns the name that bulk requests use.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Op is one write of a bulk.
type Op struct {
	Kind Kind
	ID   string

	// Source is the document, a JSON object. For Update it is laid over the document: objects field by field, everything
	// else replaced.
	Source json.RawMessage

	// Upsert makes an Update of a document that is not there write Source as the document.
	Upsert bool
}

func (o Op) bytes() int { return len(o.ID) + len(o.Source) + opOverheadBytes }

// opOverheadBytes makes many tiny writes count.
const opOverheadBytes = 64

// Outcome is what became of one Op.
type Outcome uint8

// The outcomes of writes.
const (
	Created  Outcome = iota + 1 // the ID was free
	Updated                     // the document was replaced
	Deleted                     // the document is gone
	Noop                        // an Update that changes nothing
	NotFound                    // a Delete or Update of what is not there
	Exists                      // a Create of what is there
	Refused                     // a document that cannot be indexed; Item.Err says why
)

var outcomeNames = [...]string{"", "created", "updated", "deleted", "noop", "not_found", "exists", "refused"}

// String returns the outcome's name in answers.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// Item is the outcome of the Op at the same place of a bulk.
type Item struct {
	Outcome Outcome
	Err     error // why, when Outcome is Refused
}

// Written is what became of a bulk.
type Written struct {
	// Generation is the first one that has all of it.
	Generation uint64
	Items      []Item
}

// Failed tells whether an item was not done: not found, exists, or refused.
func (w Written) Failed() bool {
	for _, i := range w.Items {
		if i.Outcome >= NotFound {
			return true
		}
	}
	return false
}
