// Package config gives every program its settings: what the defaults say, then
// a YAML file, then the environment, then flags, the later winning.
//
//	redis:
//	  lease: 30s                   # the file named by --config or OFFLINE_CONFIG
//	OFFLINE_REDIS__LEASE=30s       # the environment: two underscores are the dot
//	--redis.lease=30s              # a flag
//
// [Load] accepts nothing it does not understand. A misspelled key, a value that
// cannot be read and settings that contradict each other are refused together,
// each with its key, its value, where it came from and what to do: see [Error].
//
// Passwords are [Secret]s: they come from the file, from the environment or
// from a file of their own (…_file), never from a flag, and print as ***.
// config.sample.yml documents every key and holds every default.
package config
