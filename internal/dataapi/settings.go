package dataapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/settings"
)

// StoredSettings is where settings are kept for all processes.
type StoredSettings interface {
	// Set returns when the value is stored; nil unsets it. by says who sets it.
	Set(ctx context.Context, key string, value []byte, by string) error
	// All is what is set, as far as is known here.
	All() map[string][]byte
	// Version tells who set a value.
	Version(key string) (kafkaqueue.SettingVersion, bool)
	// History calls fn for what was ever set, the oldest first, as far as it is kept.
	History(ctx context.Context, fn func(kafkaqueue.SettingVersion) error) error
}

// setting is one of them as it is shown.
type setting struct {
	Key         string          `json:"key"`
	Value       string          `json:"value"`
	Source      settings.Source `json:"source"` // default, configured, stored, or override: here alone
	Default     string          `json:"default,omitempty"`
	Description string          `json:"description,omitempty"`
	By          string          `json:"by,omitempty"` // who stored it
	At          time.Time       `json:"at,omitzero"`
}

func (s *server) settings(*http.Request) (int, any, error) {
	all := []setting{}
	shown := map[string]bool{}
	for _, v := range s.values.All() {
		shown[v.Key] = true
		all = append(all, s.signed(setting{Key: v.Key, Value: v.Value, Source: v.Source, Default: v.Default, Description: v.Description}))
	}
	if s.stored != nil {
		stored := s.stored.All()
		for _, key := range slices.Sorted(maps.Keys(stored)) {
			if !shown[key] { // of others, such as schedules
				all = append(all, s.signed(setting{Key: key, Value: string(stored[key]), Source: settings.Stored}))
			}
		}
	}
	return http.StatusOK, map[string]any{"settings": all}, nil
}

// signed adds who stored the value.
func (s *server) signed(shown setting) setting {
	if s.stored == nil || shown.Source != settings.Stored {
		return shown
	}
	if v, ok := s.stored.Version(shown.Key); ok {
		shown.By, shown.At = v.By, v.At.UTC()
	}
	return shown
}

// change sets some settings: all of them are checked first. For all processes, or with ?here for this one alone until it
// ends. A null unsets.
func (s *server) change(r *http.Request) (int, any, error) {
	here, err := flag(r, "here")
	if err != nil {
		return 0, nil, err
	}
	var body map[string]json.RawMessage
	if err := decode(r, &body); err != nil {
		return 0, nil, err
	}
	values := map[string]*string{}
	for key, raw := range body {
		if values[key], err = text(key, raw); err != nil {
			return 0, nil, err
		}
		if err := s.check(key, values[key]); err != nil {
			return 0, nil, err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if err := s.set(r, key, values[key], here || s.stored == nil); err != nil {
			return 0, nil, err
		}
	}
	return s.settings(r)
}

// text is a value as text: a string, or a number as it is written.
func text(key string, raw json.RawMessage) (*string, error) {
	var value string
	switch {
	case string(raw) == "null":
		return nil, nil
	case raw[0] == '"':
		if err := json.Unmarshal(raw, &value); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", datanode.ErrInvalid, key, err)
		}
	case raw[0] == '{' || raw[0] == '[':
		return nil, fmt.Errorf("%w: %s: a setting is a text or a number", datanode.ErrInvalid, key)
	default:
		value = string(raw)
	}
	return &value, nil
}

// check allows what can be set, and to unset anything.
func (s *server) check(key string, value *string) error {
	if value == nil {
		return nil
	}
	return s.values.Check(key, *value)
}

func (s *server) set(r *http.Request, key string, value *string, here bool) error {
	if here {
		return s.values.Override(key, value)
	}
	var raw []byte
	if value != nil {
		raw = []byte(*value)
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if err := s.stored.Set(r.Context(), key, raw, host+" by way of "+s.node.Name()); err != nil {
		return fmt.Errorf("settings are stored in Kafka; with ?here=true they change in this process alone: %w", err)
	}
	return s.values.Apply(key, raw) // the topic tells the same a moment later
}

// settingChange is one entry of the history.
type settingChange struct {
	Key      string    `json:"key"`
	Value    *string   `json:"value"`    // null: unset
	Replaced *string   `json:"replaced"` // null: nothing, or not kept any more
	By       string    `json:"by,omitempty"`
	At       time.Time `json:"at"`
}

func (s *server) history(r *http.Request) (int, any, error) {
	all := []settingChange{}
	if s.stored == nil {
		return http.StatusOK, map[string]any{"history": all}, nil
	}
	key := r.URL.Query().Get("key")
	err := s.stored.History(r.Context(), func(v kafkaqueue.SettingVersion) error {
		if key == "" || key == v.Key {
			all = append(all, settingChange{v.Key, orNull(v.Value), orNull(v.Replaced), v.By, v.At.UTC()})
		}
		return nil
	})
	slices.Reverse(all)
	return http.StatusOK, map[string]any{"history": all}, err
}

func orNull(value []byte) *string {
	if value == nil {
		return nil
	}
	text := string(value)
	return &text
}
