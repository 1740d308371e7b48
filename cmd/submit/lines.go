package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// maxLineBytes is more than a valid task takes: parameters may be escaped.
const maxLineBytes = 4 * task.MaxParamsBytes

// lines is a source of one task per line.
type lines struct {
	name string // of the file, for people
	in   io.ReadCloser
	typ  string // of lines without one
	now  func() time.Time

	reader *bufio.Reader
	count  int
}

// next reads a line that is not blank. A bad one comes with its error.
func (l *lines) next() (item, error) {
	if l.reader == nil {
		l.reader = bufio.NewReaderSize(l.in, 64<<10)
	}
	for {
		line, tooLong, err := l.read()
		if err != nil {
			return item{}, err
		}
		line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")))
		switch {
		case tooLong:
			return item{line: l.count, err: fmt.Errorf("longer than %s", cli.Size(maxLineBytes))}, nil
		case len(line) > 0:
			return l.item(line), nil
		}
	}
}

func (l *lines) item(line []byte) item {
	s, err := parse(line)
	if s.Type == "" {
		s.Type = l.typ
	}
	i := item{line: l.count, typ: s.Type, id: s.ID, err: err}
	if err != nil {
		return i
	}
	params := []byte(s.Params)
	if s.ParamsBase64 != nil {
		if s.Params != nil {
			i.err = errors.New("both params and params_base64: one of them")
			return i
		}
		params = s.ParamsBase64
	}
	i.submission, i.err = s.submission(params, l.now())
	return i
}

// read returns the next line as long as it is not too long: then the rest of
// it is skipped.
func (l *lines) read() (line []byte, tooLong bool, err error) {
	for {
		part, err := l.reader.ReadSlice('\n')
		if len(line)+len(part) > maxLineBytes {
			tooLong, line = true, line[:0]
		}
		if !tooLong {
			line = append(line, part...)
		}
		switch {
		case err == nil:
			l.count++
			return line, tooLong, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && (len(line) > 0 || tooLong):
			l.count++
			return line, tooLong, nil
		case errors.Is(err, io.EOF):
			return nil, false, io.EOF
		default:
			return nil, false, fmt.Errorf("read %s after line %d: %w", l.name, l.count, err)
		}
	}
}

func (l *lines) Close() error { return l.in.Close() }

// checked reads all lines of a source, and returns it from its start when all
// are good. What cannot be read twice goes through a file.
func checked(l *lines, r *report) (source, error) {
	whole, err := rewindable(l.in)
	if err != nil {
		return nil, fmt.Errorf("keep %s for a second reading: %w", l.name, err)
	}
	first := &lines{name: l.name, in: whole, typ: l.typ, now: l.now}
	bad := 0
	for {
		i, err := first.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errors.Join(err, whole.Close())
		}
		if i.err != nil {
			bad++
			r.invalid(l.name, &i)
		}
	}
	if bad > 0 {
		r.say("%s: nothing was published (--strict)", cli.Count(bad, "bad line"))
		return nil, errors.Join(cli.End(cli.NotDone), whole.Close())
	}
	if _, err := whole.Seek(0, io.SeekStart); err != nil {
		return nil, errors.Join(err, whole.Close())
	}
	return &lines{name: l.name, in: whole, typ: l.typ, now: l.now}, nil
}

// rewindable is in itself when it is a file on disk, else a copy of it.
func rewindable(in io.ReadCloser) (*temporary, error) {
	if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return &temporary{File: f}, nil
		}
	}
	f, err := os.CreateTemp("", "submit-*.ndjson")
	if err != nil {
		return nil, err
	}
	t := &temporary{File: f, remove: true}
	_, err = io.Copy(f, in)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, in.Close()
}

// temporary is a file that may be gone when it is closed.
type temporary struct {
	*os.File
	remove bool
}

func (t *temporary) Close() error {
	err := t.File.Close()
	if t.remove {
		err = errors.Join(err, os.Remove(t.Name()))
	}
	return err
}
