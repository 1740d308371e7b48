package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Source says where a value in effect comes from. Of several the last in this order counts.
type Source string

// The sources of values.
const (
	Default    Source = "default"
	Configured Source = "configured" // of the process, when it started
	Stored     Source = "stored"     // for all processes
	Override   Source = "override"   // in this process alone, until it ends
)

// Config is what [New] makes values of.
type Config struct {
	Definitions []Definition

	// Configured are values by key that this process was started with, instead of defaults.
	Configured map[string]string

	// Changed is called after a value in effect has changed, not at the start, by whoever changed it. Calls
	// do not overlap, so that what it reads is never older than what the one before has read. It must not change
	// values itself. May be nil.
	Changed func()
}

// Values are the settings in effect in one process. They are safe for concurrent use.
type Values struct {
	definitions []Definition
	changed     func()

	changing sync.Mutex // held while a value changes and changed is called

	mu  sync.Mutex
	set map[Source]map[string]string // the defaults never change
}

// Value is a setting and its value in effect.
type Value struct {
	Definition

	Value  string
	Source Source
}

// New reports every mistake in what was configured at once.
func New(cfg Config) (*Values, error) {
	v := &Values{
		definitions: cfg.Definitions, changed: cfg.Changed,
		set: map[Source]map[string]string{Default: {}, Configured: {}, Stored: {}, Override: {}},
	}
	var errs []error
	for _, d := range cfg.Definitions {
		if _, twice := v.set[Default][d.Key]; twice {
			errs = append(errs, fmt.Errorf("%s is defined twice", d.Key))
		}
		v.set[Default][d.Key] = d.Default
		errs = append(errs, v.Check(d.Key, d.Default))
	}
	for key, value := range cfg.Configured {
		if value != v.set[Default][key] {
			v.set[Configured][key] = value
		}
		errs = append(errs, v.Check(key, value))
	}
	return v, errors.Join(errs...)
}

// Check tells whether a key may have a value: [ErrUnknownKey] or [ErrValue], with the reason.
func (v *Values) Check(key, value string) error { return Check(v.definitions, key, value) }

// Check tells whether one of the definitions has the key and allows the value.
func Check(definitions []Definition, key, value string) error {
	i := slices.IndexFunc(definitions, func(d Definition) bool { return d.Key == key })
	if i < 0 {
		keys := make([]string, len(definitions))
		for i, d := range definitions {
			keys[i] = d.Key
		}
		return fmt.Errorf("%w: %.100q; there are: %s", ErrUnknownKey, key, strings.Join(keys, ", "))
	}
	if err := definitions[i].Check(value); err != nil {
		return fmt.Errorf("%w: %s %w", ErrValue, key, err)
	}
	return nil
}

// Apply takes a value as it is stored for all processes, nil when it was unset. Keys that are not defined here are
// others'. A value that is not allowed is an error, and the one before stays.
func (v *Values) Apply(key string, value []byte) error {
	if _, ours := v.set[Default][key]; !ours {
		return nil
	}
	if value == nil {
		v.put(Stored, key, nil)
		return nil
	}
	text := string(value)
	if err := v.Check(key, text); err != nil {
		return err
	}
	v.put(Stored, key, &text)
	return nil
}

// Override sets a value in this process alone, until it ends; nil takes it back.
func (v *Values) Override(key string, value *string) error {
	check := v.set[Default][key]
	if value != nil {
		check = *value
	}
	if err := v.Check(key, check); err != nil {
		return err
	}
	v.put(Override, key, value)
	return nil
}

func (v *Values) put(source Source, key string, value *string) {
	v.changing.Lock()
	defer v.changing.Unlock()
	v.mu.Lock()
	before, _ := v.effective(key)
	if value == nil {
		delete(v.set[source], key)
	} else {
		v.set[source][key] = *value
	}
	after, _ := v.effective(key)
	v.mu.Unlock()
	if before != after && v.changed != nil {
		v.changed()
	}
}

// effective returns the value that counts; the lock is held.
func (v *Values) effective(key string) (value string, source Source) {
	for _, s := range []Source{Override, Stored, Configured, Default} {
		if value, ok := v.set[s][key]; ok {
			return value, s
		}
	}
	return "", ""
}

func (v *Values) value(key string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	value, _ := v.effective(key)
	return value
}

// All lists the settings with their values in effect, as they were defined.
func (v *Values) All() []Value {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := make([]Value, len(v.definitions))
	for i, d := range v.definitions {
		value, source := v.effective(d.Key)
		all[i] = Value{d, value, source}
	}
	return all
}
