package demo

import (
	"sync"
	"time"
)

// window is what was measured from one time to another.
type window struct {
	began, ended time.Time

	documents int           // written, updated and deleted
	bulks     latencies     // of these
	searches  latencies     // that were answered
	failed    int           // searches without an answer
	wrong     int           // searches whose answer was another than before
	lastError error         // of a failed or wrong search
	busy      time.Duration // that writes were told to wait
}

// meter counts what happens into the window of the time. It is safe for
// concurrent use.
type meter struct {
	mu      sync.Mutex
	current *window
	total   window // since the start
}

func newMeter() *meter { return &meter{current: &window{}} }

// begin starts a window.
func (m *meter) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current = &window{began: time.Now()}
}

// end returns what was measured since begin.
func (m *meter) end() window {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := *m.current
	w.ended = time.Now()
	m.current = &window{}
	return w
}

func (m *meter) each(count func(*window)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	count(m.current)
	count(&m.total)
}

func (m *meter) wrote(documents int, took, waited time.Duration) {
	m.each(func(w *window) {
		w.documents += documents
		w.bulks = append(w.bulks, took)
		w.busy += waited
	})
}

func (m *meter) searched(took time.Duration) {
	m.each(func(w *window) { w.searches = append(w.searches, took) })
}

func (m *meter) searchFailed(err error) {
	m.each(func(w *window) {
		w.failed++
		w.lastError = err
	})
}

func (m *meter) searchWrong(err error) {
	m.each(func(w *window) {
		w.wrong++
		w.lastError = err
	})
}

// sum is everything since the start.
func (m *meter) sum() window {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.total
}

// now is what the window of the time has so far.
func (m *meter) now() window {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := *m.current
	w.ended = time.Now()
	return w
}

// seconds is how long the window was.
func (w *window) seconds() float64 { return w.ended.Sub(w.began).Seconds() }

// rate is documents per second of the time in which any were being written:
// the writer pauses between bulks.
func (w *window) rate() float64 {
	var writing time.Duration
	for _, took := range w.bulks {
		writing += took
	}
	if writing == 0 {
		return 0
	}
	return float64(w.documents) / writing.Seconds()
}
