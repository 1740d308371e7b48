package remotestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	// maxBreaks bounds how often a body may break off in a row without a new byte.
	maxBreaks = 5

	// stallTimeout is how long a body may stand still before its request is sent again.
	stallTimeout = 30 * time.Second
)

// download reads one range of an object, and goes on where a broken or stalled body stopped: the SDK retries requests,
// but not bodies.
type download struct {
	store  *S3
	key    string
	etag   string                  // empty until the first answer
	offset int64                   // the next byte to read
	end    int64                   // -1 means up to the end of the object
	begin  func(bytes int64) error // called once with the size of the range, may be nil
}

var errStalled = errors.New("no byte came for " + stallTimeout.String())

func (d *download) run(ctx context.Context, w io.Writer) error {
	for breaks := 0; ; {
		n, err := d.read(ctx, w)
		broken, isBreak := errors.AsType[bodyError](err)
		if !isBreak {
			return err
		}
		if n > 0 {
			breaks = 0
		}
		if breaks++; breaks > maxBreaks {
			return fmt.Errorf("the body broke off %d times at byte %d: %w", breaks, d.offset, broken.cause)
		}
		if err := pause(ctx, breaks); err != nil {
			return err
		}
	}
}

// read sends one request and copies its body. A bodyError may be gone on from.
func (d *download) read(ctx context.Context, w io.Writer) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(stallTimeout, func() { cancel(errStalled) })
	defer stall.Stop()

	out, err := d.store.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &d.store.bucket, Key: d.store.key(d.key), Range: d.header(), IfMatch: d.condition(),
	})
	if status(err) == http.StatusRequestedRangeNotSatisfiable {
		return 0, nil // the range begins at or behind the end
	}
	if err != nil {
		return 0, err
	}
	defer out.Body.Close()
	if err := d.started(out); err != nil {
		return 0, err
	}
	sink := &sinkWriter{w: w}
	n, err := io.Copy(sink, meteredReader{ctx, out.Body, func(ctx context.Context, n int64) {
		countRead(ctx, n)
		stall.Reset(stallTimeout)
	}})
	d.offset += n
	switch {
	case sink.err != nil: // the local disk, not the connection
		return n, sink.err
	case err == nil && d.offset == d.end:
		return n, nil
	case err == nil:
		err = io.ErrUnexpectedEOF
	case errors.Is(context.Cause(ctx), errStalled):
		err = errStalled
	case ctx.Err() != nil:
		return n, context.Cause(ctx)
	}
	return n, bodyError{err}
}

// started notes what the first answer tells about the object.
func (d *download) started(out *s3.GetObjectOutput) error {
	if d.etag == "" {
		d.etag = aws.ToString(out.ETag)
	}
	n := aws.ToInt64(out.ContentLength)
	if out.ContentRange == nil && (d.offset > 0 || d.end >= 0 && n > d.end-d.offset) {
		return errors.New("the store ignores the Range header")
	}
	d.end = d.offset + n
	if d.begin == nil {
		return nil
	}
	begin := d.begin
	d.begin = nil
	return begin(n)
}

func (d *download) header() *string {
	switch {
	case d.end >= 0:
		return aws.String(fmt.Sprintf("bytes=%d-%d", d.offset, d.end-1))
	case d.offset > 0:
		return aws.String(fmt.Sprintf("bytes=%d-", d.offset))
	}
	return nil
}

func (d *download) condition() *string {
	if d.etag == "" {
		return nil
	}
	return &d.etag
}

// bodyError marks a body that broke off.
type bodyError struct{ cause error }

func (e bodyError) Error() string { return e.cause.Error() }
func (e bodyError) Unwrap() error { return e.cause }

// sinkWriter remembers the error of its writer, to tell it from one of the reader.
type sinkWriter struct {
	w   io.Writer
	err error
}

func (s *sinkWriter) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.err = err
	return n, err
}
