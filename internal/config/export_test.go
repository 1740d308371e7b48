package config

// Keys are all settings but those of single task types.
func Keys() (keys []string) {
	schema.leaves(nil, func(path []string, _ *node) { keys = append(keys, join(path)) })
	return keys
}

// SetBySource tells whether a source set the key.
func (s *Settings) SetBySource(key string) bool { return s.origins[key] != "" }

// SecretKeys are the settings that are secret.
func SecretKeys() (keys []string) {
	schema.leaves(nil, func(path []string, leaf *node) {
		if leaf.secret() {
			keys = append(keys, join(path))
		}
	})
	return keys
}
