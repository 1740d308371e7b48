//go:build synctests

package kafkaqueue

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func (w *world) settings(changed func(string, []byte)) *Settings {
	w.Helper()
	s, err := NewSettings(w.cfg)
	require.NoError(w, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, changed) }()
	w.Cleanup(func() { cancel(); require.NoError(w, <-ended) })
	return s
}

func TestSettingsAreReadWholeAndFollowed(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		early := w.settings(func(string, []byte) {})
		time.Sleep(10 * time.Second)
		select {
		case <-early.Ready():
			t.Fatal("ready without a topic")
		default:
		}
		w.topics()
		p := w.producer()
		for i := range 20 {
			require.NoError(t, p.Set(t.Context(), fmt.Sprint("key-", i%5), fmt.Append(nil, i)))
		}
		require.NoError(t, p.Set(t.Context(), "key-0", nil))
		var mu sync.Mutex
		var told []string
		s := w.settings(func(key string, value []byte) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprintf("%s=%s", key, value))
		})
		<-s.Ready()
		require.Len(t, s.All(), 4)
		v, ok := s.Get("key-4")
		require.True(t, ok)
		require.Equal(t, "19", string(v))
		_, ok = s.Get("key-0")
		require.False(t, ok)
		mu.Lock()
		told = nil
		mu.Unlock()
		require.NoError(t, p.Set(t.Context(), "key-4", []byte("19")))
		require.NoError(t, p.Set(t.Context(), "key-4", []byte("20")))
		require.NoError(t, p.Set(t.Context(), "key-1", nil))
		w.eventually(time.Minute, func() bool { mu.Lock(); defer mu.Unlock(); return len(told) == 2 }, "two changes")
		require.Equal(t, []string{"key-4=20", "key-1="}, told)
		<-early.Ready()
		w.eventually(time.Minute, func() bool { return len(early.All()) == 3 }, "the early one follows too")
		empty := w.settings(func(string, []byte) {})
		<-empty.Ready()
	})
}

func TestTheHistoryOfSettingsTellsWhoAndWhen(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics()
		p := w.producer()
		started := time.Now()
		require.NoError(t, p.SetBy(t.Context(), "offline.merge", []byte("off"), "ann"))
		time.Sleep(time.Hour)
		require.NoError(t, p.Set(t.Context(), "other", []byte("1")))
		require.NoError(t, p.SetBy(t.Context(), "offline.merge", nil, "bob"))
		var all []SettingVersion
		require.NoError(t, ReadSettings(t.Context(), w.cfg, func(v SettingVersion) error {
			v.At = v.At.Truncate(time.Minute)
			all = append(all, v)
			return nil
		}))
		minute := started.Truncate(time.Minute)
		require.Len(t, all, 3)
		for i := range all {
			require.Equal(t, i == 0, all[i].At.Equal(minute), all[i].At)
			all[i].At = time.Time{}
		}
		require.Equal(t, []SettingVersion{
			{Key: "offline.merge", Value: []byte("off"), By: "ann"},
			{Key: "other", Value: []byte("1"), Offset: 1},
			{Key: "offline.merge", Replaced: []byte("off"), By: "bob", Offset: 2},
		}, all)
		s := w.settings(func(string, []byte) {})
		<-s.Ready()
		require.NoError(t, p.SetBy(t.Context(), "offline.merge", []byte("always"), "cid"))
		w.eventually(time.Minute, func() bool { v, _ := s.Version("offline.merge"); return v.By == "cid" }, "it is followed")
	})
}

func TestASettingThatIsNotAcknowledgedIsUnknown(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics()
		p := w.producer()
		require.ErrorIs(t, p.Set(t.Context(), "", nil), task.ErrInvalid)
		w.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := p.Set(ctx, "a", nil)
		require.ErrorIs(t, err, ErrUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotContains(t, err.Error(), "submit")
	})
}
