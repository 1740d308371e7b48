package config

import (
	"errors"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

// ErrNoStore says that the settings name no object store.
var ErrNoStore = errors.New("store.url is not set: name the object store, as file:///dir or s3://bucket/prefix")

// Config is what the store is opened with, or [ErrNoStore].
func (s Store) Config() (remotestore.Config, error) {
	if s.URL == "" {
		return remotestore.Config{}, ErrNoStore
	}
	return s.config(), nil
}

// HasRepository tells whether the settings name a second store.
func (s *Settings) HasRepository() bool { return s.Repository.URL != "" }

func (s Store) config() remotestore.Config {
	return remotestore.Config{
		URL:          s.URL,
		AccessKey:    s.AccessKey,
		SecretKey:    remotestore.Secret(s.SecretKey.Reveal()),
		SessionToken: remotestore.Secret(s.SessionToken.Reveal()),
		CAFile:       s.CAFile,
	}
}
