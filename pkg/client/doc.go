// Package client is the queue for everyone outside a node: it submits tasks,
// tells their states, cancels them, and redrives dead letters.
//
//	c, err := client.Open(ctx, client.Config{Kafka: …, Claims: …})
//	id, err := c.Submit(ctx, "image.resize", Resize{"cat.jpg", 640}, task.Unique("cat.jpg"), task.In(time.Minute))
//	state, err := c.State(ctx, id)
//
// A task is accepted when Submit returns nil: all in-sync replicas have it,
// and it will reach a terminal status whatever crashes. An error that is
// [ErrUnknown] leaves that open; submitting again with the same id is safe.
package client
