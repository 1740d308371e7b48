package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"

	"github.com/offline-nodes/offline-nodes/bench/internal/system"
	"github.com/offline-nodes/offline-nodes/bench/internal/work"
)

// RunWorker is the worker process: it runs tasks as the spec says until SIGTERM, and tells about them on out.
func RunWorker(ctx context.Context, text string, out io.Writer) (err error) {
	var spec system.Spec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return fmt.Errorf("spec of the worker: %w", err)
	}
	s, err := system.New(spec)
	if err != nil {
		return err
	}
	if spec.Profile != "" {
		stop, err := profile(spec.Profile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	told, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	r := work.NewReporter(out, spec.Counting)
	reporting, end := context.WithCancel(ctx)
	reported := make(chan error, 1)
	go func() { reported <- r.Run(reporting) }()
	err = s.Work(told, r.Do, r.Ready)
	end()
	return errors.Join(err, <-reported)
}

func profile(path string) (stop func() error, err error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}
