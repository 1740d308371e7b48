package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Run keeps both servers up until ctx ends: the whole of a process that does
// nothing else. When readyFile is not empty, it holds their [Addresses] as JSON
// while they run; it appears whole, and once they answer.
func Run(ctx context.Context, options Options, readyFile string) error {
	servers, err := Start(ctx, options)
	if err != nil {
		return err
	}
	defer servers.Stop()
	if readyFile != "" {
		if err := writeReady(readyFile, servers.Addresses); err != nil {
			return err
		}
		defer func() { _ = os.Remove(readyFile) }()
	}
	<-ctx.Done()
	return nil
}

// Await waits for the file that [Run] writes in another process. Remove an old
// one before that process starts.
func Await(ctx context.Context, readyFile string) (Addresses, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(readyFile)
		if err == nil {
			var a Addresses
			if err := json.Unmarshal(text, &a); err != nil {
				return Addresses{}, fmt.Errorf("read %s: %w", readyFile, err)
			}
			return a, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return Addresses{}, err
		}
		select {
		case <-ctx.Done():
			return Addresses{}, fmt.Errorf("wait for %s: %w", readyFile, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// writeReady makes the file appear with all that is in it.
func writeReady(path string, a Addresses) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".ready-*")
	if err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	_, err = temp.Write(append(text, '\n'))
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write ready file: %w", err), os.Remove(temp.Name()))
	}
	return nil
}
