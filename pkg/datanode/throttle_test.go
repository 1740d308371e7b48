package datanode

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAThrottleHoldsWritersToItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := newThrottle(1 << 20)
		began := time.Now()
		done := make(chan struct{})
		for range 2 { // they share it
			go func() {
				for range 5 << 10 {
					limit.wrote(t.Context(), 1<<10)
				}
				done <- struct{}{}
			}()
		}
		<-done
		<-done
		require.InDelta(t, 10, time.Since(began).Seconds(), 0.1, "10 MiB at 1 MiB/s")

		time.Sleep(time.Hour) // saves nothing up
		began = time.Now()
		limit.wrote(t.Context(), 1<<20)
		require.InDelta(t, 1, time.Since(began).Seconds(), 0.01)
	})
}

func TestAThrottleFollowsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := newThrottle(1 << 10)
		began := time.Now()
		done := make(chan struct{})
		go func() { limit.wrote(t.Context(), 100<<10); close(done) }() // 100 s
		time.Sleep(50 * time.Second)
		limit.set(10 << 10) // the other half takes 5 s
		<-done
		require.InDelta(t, 55, time.Since(began).Seconds(), 0.1)

		limit.set(1)
		began = time.Now()
		done = make(chan struct{})
		go func() { limit.wrote(t.Context(), 1000); close(done) }()
		time.Sleep(time.Second)
		limit.set(0)
		<-done
		require.InDelta(t, 1, time.Since(began).Seconds(), 0.1, "no limit")

		limit.set(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		limit.wrote(ctx, 1000)
		require.InDelta(t, 1, time.Since(began).Seconds(), 0.1, "a merge that is stopped does not wait")
	})
}

func TestSlotsFollowTheirNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		var held atomic.Int32
		for range 5 {
			go func() {
				if s.take(t.Context()) == nil {
					held.Add(1)
				}
			}()
		}
		synctest.Wait()
		require.EqualValues(t, 1, held.Load())
		s.resize(3)
		synctest.Wait()
		require.EqualValues(t, 3, held.Load())
		s.resize(1)
		s.give()
		s.give()
		synctest.Wait()
		require.EqualValues(t, 3, held.Load(), "one is still held")
		s.give()
		synctest.Wait()
		require.EqualValues(t, 4, held.Load())
		s.give()
		synctest.Wait()
		require.EqualValues(t, 5, held.Load())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, s.take(ctx), context.Canceled)
	})
}
