//go:build synctests

package node

// points are the named steps at which a simulation stops or crashes a node, and
// the seams where it puts a mutant in.
type points struct {
	// Reached is called at each named step, from the goroutine that takes it.
	// It may block, as a process that is frozen there would.
	Reached func(step string)
	// WrapPublisher and WrapConsumer put something between the node and its queue.
	WrapPublisher func(Publisher) Publisher
	WrapConsumer  func(Consumer) Consumer
}

// Publisher is what the effects need of the queue.
type Publisher = publisher

// Consumer is what a lane needs of the queue.
type Consumer = consumer

func (p points) reach(step string) {
	if p.Reached != nil {
		p.Reached(step)
	}
}

func (p points) publisher(q publisher) publisher {
	if p.WrapPublisher != nil {
		return p.WrapPublisher(q)
	}
	return q
}

func (p points) consumer(c consumer) consumer {
	if p.WrapConsumer != nil {
		return p.WrapConsumer(c)
	}
	return c
}
