package remotestore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Memory is a store that lives as long as the process: for tests, demos and embedded use.
type Memory struct {
	mu      sync.RWMutex
	objects map[string]memoryObject
}

type memoryObject struct {
	body     []byte // never changed in place
	modified time.Time
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{objects: make(map[string]memoryObject)}
}

// PutFile implements [Store].
func (m *Memory) PutFile(ctx context.Context, key, path string) error {
	if err := check(ctx, "put", key); err != nil {
		return err
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	m.put(ctx, key, body)
	return nil
}

// GetFile implements [Store].
func (m *Memory) GetFile(ctx context.Context, key, path string) error {
	body, err := m.body(ctx, key)
	if err != nil {
		return err
	}
	return writeLocal(path, func(f *os.File) error {
		_, err := io.Copy(f, meteredReader{ctx, bytes.NewReader(body), countRead})
		return err
	})
}

// Get implements [Store].
func (m *Memory) Get(ctx context.Context, key string, r Range) ([]byte, error) {
	body, err := m.body(ctx, key)
	if err != nil {
		return nil, err
	}
	offset, n := r.clip(int64(len(body)))
	if n > MaxGetBytes {
		return nil, fmt.Errorf("get %s: %w: %d bytes", key, ErrTooLarge, n)
	}
	countRead(ctx, n)
	return bytes.Clone(body[offset : offset+n]), nil
}

// Put implements [Store].
func (m *Memory) Put(ctx context.Context, key string, body []byte) error {
	if err := checkBody(ctx, "put", key, body); err != nil {
		return err
	}
	m.put(ctx, key, bytes.Clone(body))
	return nil
}

// Create implements [Store].
func (m *Memory) Create(ctx context.Context, key string, body []byte) error {
	if err := checkBody(ctx, "create", key, body); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if held, ok := m.objects[key]; ok {
		if bytes.Equal(held.body, body) {
			return nil
		}
		return fmt.Errorf("create %s: %w", key, ErrExists)
	}
	m.objects[key] = memoryObject{bytes.Clone(body), time.Now()}
	countWritten(ctx, int64(len(body)))
	return nil
}

// List implements [Store]. It yields the objects that were there when the iteration began.
func (m *Memory) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		if err := checkPrefix(prefix); err != nil {
			yield(Object{}, err)
			return
		}
		for _, o := range m.listed(prefix, after) {
			if err := ctx.Err(); err != nil {
				yield(Object{}, err)
				return
			}
			if !yield(o, nil) {
				return
			}
		}
	}
}

// Delete implements [Store].
func (m *Memory) Delete(ctx context.Context, key string) error {
	if err := check(ctx, "delete", key); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	return nil
}

func (m *Memory) put(ctx context.Context, key string, body []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[key] = memoryObject{body, time.Now()}
	countWritten(ctx, int64(len(body)))
}

func (m *Memory) body(ctx context.Context, key string) ([]byte, error) {
	if err := check(ctx, "get", key); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	held, ok := m.objects[key]
	if !ok {
		return nil, fmt.Errorf("get %s: %w", key, ErrNotFound)
	}
	return held.body, nil
}

func (m *Memory) listed(prefix, after string) []Object {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []Object
	for key, o := range m.objects {
		if strings.HasPrefix(key, prefix) && key > after {
			out = append(out, Object{key, int64(len(o.body)), o.modified})
		}
	}
	slices.SortFunc(out, func(a, b Object) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// check refuses a call before anything is touched.
func check(ctx context.Context, verb, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %s: %w", verb, key, err)
	}
	return nil
}

func checkBody(ctx context.Context, verb, key string, body []byte) error {
	if len(body) > MaxGetBytes {
		return fmt.Errorf("%s %s: %w: %d bytes", verb, key, ErrTooLarge, len(body))
	}
	return check(ctx, verb, key)
}
