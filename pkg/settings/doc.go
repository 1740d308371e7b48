// Package settings defines dynamic settings: what can be changed while processes run, for all of them at once.
//
//	var rate = settings.Bytes("local.merge_rate", 20<<20, 64<<10, true, "bytes per second that merges write")
//
//	values, err := settings.New(settings.Config{Definitions: …, Changed: func() { limiter.Set(rate.In(values)) }})
//	err = values.Apply("local.merge_rate", []byte("64MiB")) // as package kafkaqueue reads it
//
// A setting has a key, a default, and a check with a clear error. Values are text. Where they are stored is not known here:
// package kafkaqueue keeps them in a topic and follows it.
package settings
