package kafkaqueue

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

func benchConfig(b *testing.B) Config {
	b.Helper()
	cfg := Config{Brokers: testkit.Kafka(b), Prefix: testkit.Name(b) + ".", Topics: Topics{Partitions: 12, Replication: 1}}
	a, err := OpenAdmin(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	if err := a.Ensure(b.Context(), []string{"merge"}); err != nil {
		b.Fatal(err)
	}
	return cfg
}

func benchProducer(b *testing.B, cfg Config) *Producer {
	b.Helper()
	p, err := NewProducer(cfg)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// noise500 are 500 bytes of JSON, different each time.
func noise500(i int) []byte {
	p := fmt.Appendf(nil, `{"n":%d,"path":"`, i)
	for len(p) < 498 {
		p = fmt.Appendf(p, "%x/", i*2654435761+len(p))
	}
	return append(p[:498], `"}`...)
}

func perSecond(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkKafkaSubmit(b *testing.B) {
	for _, size := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			p := benchProducer(b, benchConfig(b))
			tasks := make([]task.Delivery, size)
			for i := range tasks {
				tasks[i] = task.Delivery{Envelope: task.Envelope{ID: task.NewID(), Type: "merge"}, Params: noise500(i)}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; done += size {
				if errs := p.Submit(b.Context(), tasks); errs != nil {
					b.Fatal(errs)
				}
			}
			perSecond(b)
			_ = p.Close(context.Background())
		})
	}
}

func BenchmarkKafkaEvent(b *testing.B) {
	p := benchProducer(b, benchConfig(b))
	b.ReportAllocs()
	b.ResetTimer()
	var acked sync.WaitGroup
	acked.Add(b.N)
	now := time.Now()
	for i := range b.N {
		if i%4096 == 4095 { // as windows bound it
			for p.open.Load() > 8192 {
				time.Sleep(100 * time.Microsecond)
			}
		}
		p.Event(task.Event{TaskID: "0195e8a0-0000-7000-8000-000000000000", Type: "merge", Status: task.Success, AllocationID: 1, Node: "node-1", SubmittedAt: now, StartedAt: now, CompletedAt: now}, func(err error) { acked.Done() })
	}
	acked.Wait()
	perSecond(b)
	_ = p.Close(context.Background())
}

// BenchmarkKafkaConsume delivers, finishes and commits what is there.
func BenchmarkKafkaConsume(b *testing.B) {
	cfg := benchConfig(b)
	p := benchProducer(b, cfg)
	var acked sync.WaitGroup
	for i := range b.N {
		if i%4096 == 4095 {
			acked.Wait()
		}
		acked.Add(1)
		d := &task.Delivery{Envelope: task.Envelope{ID: task.NewID(), Type: "merge", SubmittedAt: time.Now()}, Params: noise500(i)}
		pub := &publication{producer: p, kind: kindHop, acked: func(error) { acked.Done() }}
		pub.carry(d, cfg.Prefix+"tasks.merge", time.Now())
		p.publish(pub)
	}
	acked.Wait()
	_ = p.Close(context.Background())
	c, err := NewConsumer(cfg, "merge", Hooks{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	b.ReportAllocs()
	var start time.Time
	for got := 0; got < b.N; {
		ds, err := c.Poll(ctx)
		if err != nil {
			b.Fatal(err)
		}
		if got == 0 { // joining takes its time
			b.ResetTimer()
			start = time.Now()
		}
		got += len(ds)
		for i := range ds {
			c.Finish(&ds[i])
		}
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "records/s")
	b.StopTimer()
	cancel()
	<-ended
}
