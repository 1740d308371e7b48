package remotestore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrUnfit is returned by SelfTest for a store that breaks a promise which commits rely on.
var ErrUnfit = errors.New("store is unfit")

// selfTestPrefix is where SelfTest writes.
const selfTestPrefix = "self-test/"

// largeBody is a size that S3 stores take in parts, where the condition travels by another request.
const largeBody = partBytes + 1

// SelfTest proves that a store keeps its promises, by trying: create-only writes have one winner, small and large, one
// after the other and in a race; a write is seen by the next read and listing; listings are in order. It writes some
// 40 MB below "self-test/" under a random name and removes them. It returns an error that is ErrUnfit and says what to
// do when a promise is broken, or the store's own error when it cannot be reached.
//
// It is worth running at every start: servers that accept the condition and ignore it lose commits without a sign.
func SelfTest(ctx context.Context, store Store) (err error) {
	t := selfTest{store, selfTestPrefix + strings.ToLower(rand.Text()) + "/"}
	defer func() { err = errors.Join(err, t.cleanUp(ctx)) }()
	steps := []func(context.Context) error{t.createOnly, t.createRace, t.createLarge, t.readAfterWrite, t.listing}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return fmt.Errorf("self-test of the object store: %w", err)
		}
	}
	return nil
}

type selfTest struct {
	store  Store
	prefix string
}

func (t selfTest) createOnly(ctx context.Context) error {
	return t.contest(ctx, "once", 2, 16, false)
}

func (t selfTest) createRace(ctx context.Context) error {
	for round := range 3 {
		if err := t.contest(ctx, fmt.Sprint("race-", round), 8, 16, true); err != nil {
			return err
		}
	}
	return nil
}

func (t selfTest) createLarge(ctx context.Context) error {
	if err := t.contest(ctx, "large-race", 2, largeBody, true); err != nil {
		return err
	}
	return t.contest(ctx, "large-once", 2, largeBody, false)
}

// contest lets writers create one key, and checks that one of them wins and that its body is what stays.
func (t selfTest) contest(ctx context.Context, name string, writers, size int, atOnce bool) error {
	key := t.prefix + name
	bodies, errs := make([][]byte, writers), make([]error, writers)
	var group sync.WaitGroup
	for i := range writers {
		bodies[i] = bytes.Repeat([]byte(rand.Text()), size/26+1)[:size]
		group.Go(func() { errs[i] = t.store.Create(ctx, key, bodies[i]) })
		if !atOnce {
			group.Wait()
		}
	}
	group.Wait()

	winner := -1
	for i, err := range errs {
		switch {
		case errors.Is(err, ErrExists):
		case err != nil:
			return err
		case winner >= 0:
			return fmt.Errorf("%w: two create-only writes of one key (%d bytes) both succeeded: the store ignores If-None-Match. "+
				"Use a store that honours conditional writes, or upgrade the server", ErrUnfit, size)
		default:
			winner = i
		}
	}
	if winner < 0 {
		return fmt.Errorf("%w: none of %d create-only writes of a free key succeeded. "+
			"Use a store that honours conditional writes, or upgrade the server", ErrUnfit, writers)
	}
	held, err := t.store.Get(ctx, key, All)
	if err != nil {
		return err
	}
	if !bytes.Equal(held, bodies[winner]) {
		return fmt.Errorf("%w: a create-only write was accepted, but another body is stored. "+
			"Use a store that honours conditional writes, or upgrade the server", ErrUnfit)
	}
	return nil
}

func (t selfTest) readAfterWrite(ctx context.Context) error {
	key := t.prefix + "overwritten"
	for _, body := range []string{"first", "second"} {
		if err := t.store.Put(ctx, key, []byte(body)); err != nil {
			return err
		}
		held, err := t.store.Get(ctx, key, All)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if string(held) != body {
			return fmt.Errorf("%w: a read after a write does not see it. Turn off caches between here and the store, "+
				"and do not use an eventually consistent replica", ErrUnfit)
		}
	}
	if err := t.store.Delete(ctx, key); err != nil {
		return err
	}
	if _, err := t.store.Get(ctx, key, All); !errors.Is(err, ErrNotFound) {
		return errors.Join(fmt.Errorf("%w: an object is still there after it was deleted", ErrUnfit), err)
	}
	return nil
}

func (t selfTest) listing(ctx context.Context) error {
	names := []string{"list/3", "list/1", "list/10", "list/2", "list-not"}
	for _, name := range names {
		if err := t.store.Put(ctx, t.prefix+name, []byte(name)); err != nil {
			return err
		}
	}
	var got []string
	for o, err := range t.store.List(ctx, t.prefix+"list/", t.prefix+"list/1") {
		if err != nil {
			return err
		}
		got = append(got, strings.TrimPrefix(o.Key, t.prefix))
	}
	if want := []string{"list/10", "list/2", "list/3"}; !slices.Equal(got, want) {
		return fmt.Errorf("%w: a listing of %v after list/1 gave %v, not %v. "+
			"Use a store whose listings are ordered and see every finished write", ErrUnfit, names, got, want)
	}
	return nil
}

// cleanUp has its own time, so that a cancelled test leaves nothing behind.
func (t selfTest) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	for o, err := range t.store.List(ctx, t.prefix, "") {
		if err != nil {
			return err
		}
		if err := t.store.Delete(ctx, o.Key); err != nil {
			return err
		}
	}
	return nil
}
