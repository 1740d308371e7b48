package task

import "fmt"

// Status is where a task stands. Success, Failed and Cancelled are terminal:
// nothing follows them within a replay.
type Status uint8

// The six statuses, in the order in which a task passes through them.
const (
	Unassigned Status = iota + 1 // waiting; its explanation says what for
	Assigned                     // claimed by a node
	Active                       // its worker has reported at least once
	Success
	Failed
	Cancelled
)

var statusNames = [...]string{"", "UNASSIGNED", "ASSIGNED", "ACTIVE", "SUCCESS", "FAILED", "CANCELLED"}

// ParseStatus reads the upper-case name of a status.
func ParseStatus(name string) (Status, error) {
	for s := Unassigned; s <= Cancelled; s++ {
		if statusNames[s] == name {
			return s, nil
		}
	}
	return 0, fmt.Errorf("unknown status %q: use one of UNASSIGNED, ASSIGNED, ACTIVE, SUCCESS, FAILED, CANCELLED", name)
}

// Terminal tells whether nothing follows s within a replay.
func (s Status) Terminal() bool { return s >= Success }

// String returns the upper-case name, as it stands in events and states.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("Status(%d)", uint8(s))
}

// MarshalText writes the upper-case name.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the upper-case name.
func (s *Status) UnmarshalText(text []byte) (err error) {
	*s, err = ParseStatus(string(text))
	return err
}
