package remotestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	// partBytes is the size from which objects travel in parts, and the size of a part. S3 demands at least 5 MiB.
	partBytes = 8 << 20

	// maxParts is how many parts S3 takes; larger files get larger parts.
	maxParts = 10_000

	// parallelParts bounds the parts of one object that are under way at once. Parts are streamed from and to files:
	// they are not held in memory.
	parallelParts = 4
)

// S3 is a store in a bucket of S3 or of a server that speaks its protocol and honours If-None-Match on PutObject and
// on CompleteMultipartUpload.
//
// A process that dies during a large upload leaves its parts in the bucket, unseen but paid for: Sweep aborts them, or
// a lifecycle rule (AbortIncompleteMultipartUpload) does.
type S3 struct {
	client *s3.Client
	http   *http.Client
	bucket string
	prefix string // empty, or ends with a slash
}

// Close closes idle connections. The store stays usable.
func (s *S3) Close() error {
	s.http.CloseIdleConnections()
	return nil
}

// PutFile implements [Store].
func (s *S3) PutFile(ctx context.Context, key, local string) error {
	if err := check(ctx, "put", key); err != nil {
		return err
	}
	f, err := os.Open(local)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	if err := s.write(ctx, key, f, info.Size(), nil); err != nil {
		return fmt.Errorf("put %s: %w", key, s.explain(err))
	}
	return nil
}

// Put implements [Store].
func (s *S3) Put(ctx context.Context, key string, body []byte) error {
	if err := checkBody(ctx, "put", key, body); err != nil {
		return err
	}
	if err := s.write(ctx, key, bytes.NewReader(body), int64(len(body)), nil); err != nil {
		return fmt.Errorf("put %s: %w", key, s.explain(err))
	}
	return nil
}

// Create implements [Store].
func (s *S3) Create(ctx context.Context, key string, body []byte) error {
	if err := checkBody(ctx, "create", key, body); err != nil {
		return err
	}
	var err error
	for attempt := range createAttempts {
		if attempt > 0 && pause(ctx, attempt) != nil {
			break
		}
		if err = s.write(ctx, key, bytes.NewReader(body), int64(len(body)), aws.String("*")); err == nil {
			return nil
		}
		settled, verdict := s.resolve(ctx, key, body, err)
		if verdict == nil {
			return nil
		}
		err = fmt.Errorf("create %s: %w", key, verdict)
		if settled {
			break
		}
	}
	return err
}

// GetFile implements [Store].
func (s *S3) GetFile(ctx context.Context, key, local string) error {
	if err := check(ctx, "get", key); err != nil {
		return err
	}
	head, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: s.key(key)})
	if err != nil {
		return fmt.Errorf("get %s: %w", key, s.explain(err))
	}
	err = writeLocal(local, func(f *os.File) error {
		return s.download(ctx, key, aws.ToString(head.ETag), aws.ToInt64(head.ContentLength), f)
	})
	if err != nil {
		return fmt.Errorf("get %s: %w", key, s.explain(err))
	}
	return nil
}

// Get implements [Store].
func (s *S3) Get(ctx context.Context, key string, r Range) ([]byte, error) {
	if err := check(ctx, "get", key); err != nil {
		return nil, err
	}
	var body bytes.Buffer
	d := download{store: s, key: key, offset: max(r.Offset, 0), end: -1}
	if r.Bytes > 0 {
		d.end = d.offset + r.Bytes
	}
	d.begin = func(n int64) error {
		if n > MaxGetBytes {
			return fmt.Errorf("%w: %d bytes", ErrTooLarge, n)
		}
		body.Grow(int(n))
		return nil
	}
	if err := d.run(ctx, &body); err != nil {
		return nil, fmt.Errorf("get %s: %w", key, s.explain(err))
	}
	return body.Bytes(), nil
}

// List implements [Store].
func (s *S3) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		if err := checkPrefix(prefix); err != nil {
			yield(Object{}, err)
			return
		}
		in := &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: s.key(prefix)}
		if after != "" {
			in.StartAfter = s.key(after)
		}
		pages := s3.NewListObjectsV2Paginator(s.client, in)
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(Object{}, fmt.Errorf("list %q: %w", prefix, s.explain(err)))
				return
			}
			for _, o := range page.Contents {
				key := strings.TrimPrefix(aws.ToString(o.Key), s.prefix)
				if !yield(Object{key, aws.ToInt64(o.Size), aws.ToTime(o.LastModified)}, nil) {
					return
				}
			}
		}
	}
}

// Delete implements [Store].
func (s *S3) Delete(ctx context.Context, key string) error {
	if err := check(ctx, "delete", key); err != nil {
		return err
	}
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: s.key(key)})
	if err = s.explain(err); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// Unfinished implements [Sweeper]: multipart uploads that were neither completed nor aborted. Their size is not told.
func (s *S3) Unfinished(ctx context.Context) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for u, err := range s.uploads(ctx) {
			o := Object{Key: strings.TrimPrefix(aws.ToString(u.Key), s.prefix), Modified: aws.ToTime(u.Initiated)}
			if !yield(o, err) || err != nil {
				return
			}
		}
	}
}

// Sweep implements [Sweeper]: it aborts multipart uploads that began more than age ago.
func (s *S3) Sweep(ctx context.Context, age time.Duration) (removed int, err error) {
	for u, err := range s.uploads(ctx) {
		if err != nil {
			return removed, err
		}
		if time.Since(aws.ToTime(u.Initiated)) < age {
			continue
		}
		if err := s.abort(ctx, u.Key, u.UploadId); err != nil {
			return removed, fmt.Errorf("sweep unfinished uploads: %w", s.explain(err))
		}
		removed++
	}
	return removed, nil
}

// uploads yields the multipart uploads below the store's prefix that have not ended.
func (s *S3) uploads(ctx context.Context) iter.Seq2[types.MultipartUpload, error] {
	return func(yield func(types.MultipartUpload, error) bool) {
		pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: &s.bucket, Prefix: &s.prefix})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(types.MultipartUpload{}, fmt.Errorf("list unfinished uploads: %w", s.explain(err)))
				return
			}
			for _, u := range page.Uploads {
				if !yield(u, nil) {
					return
				}
			}
		}
	}
}

// write uploads body; condition is nil or the value of If-None-Match.
func (s *S3) write(ctx context.Context, key string, body io.ReaderAt, size int64, condition *string) error {
	if size > partBytes {
		return s.writeParts(ctx, s.key(key), body, size, condition)
	}
	ctx, cancel := context.WithTimeout(ctx, transferTimeout(size))
	defer cancel()
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.bucket, Key: s.key(key), Body: io.NewSectionReader(body, 0, size), IfNoneMatch: condition,
	})
	if err == nil {
		countWritten(ctx, size)
	}
	return err
}

func (s *S3) key(key string) *string { return aws.String(s.prefix + key) }

// transferTimeout is how long one request may take: a minute, and longer for a line of less than 64 KiB a second.
func transferTimeout(size int64) time.Duration {
	return time.Minute + time.Duration(size>>16)*time.Second
}

// pause waits longer after each failed attempt.
func pause(ctx context.Context, attempt int) error {
	timer := time.NewTimer(min(50*time.Millisecond<<attempt, 2*time.Second))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
