package remotestore

import (
	"context"
	"errors"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

// writeParts uploads body in parts that go in parallel. The condition is checked when the upload is completed.
func (s *S3) writeParts(ctx context.Context, key *string, body io.ReaderAt, size int64, condition *string) error {
	upload, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &s.bucket, Key: key})
	if err != nil {
		return err
	}
	parts, err := s.sendParts(ctx, key, upload.UploadId, body, size)
	if err == nil {
		_, err = s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &s.bucket, Key: key, UploadId: upload.UploadId, IfNoneMatch: condition,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
	}
	if err == nil {
		return nil
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), readBackTimeout)
	defer cancel()
	if aerr := s.abort(cleanup, key, upload.UploadId); aerr != nil && status(err) == 0 {
		return errors.Join(err, aerr)
	}
	return err
}

func (s *S3) sendParts(ctx context.Context, key, upload *string, body io.ReaderAt, size int64) ([]types.CompletedPart, error) {
	partSize := max(partBytes, (size+maxParts-1)/maxParts)
	parts := make([]types.CompletedPart, (size+partSize-1)/partSize)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelParts)
	for i := range parts {
		group.Go(func() error {
			offset := int64(i) * partSize
			n := min(partSize, size-offset)
			number := aws.Int32(int32(i) + 1)
			ctx, cancel := context.WithTimeout(ctx, transferTimeout(n))
			defer cancel()
			out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
				Bucket: &s.bucket, Key: key, UploadId: upload, PartNumber: number, Body: io.NewSectionReader(body, offset, n),
			})
			if err != nil {
				return err
			}
			countWritten(ctx, n)
			parts[i] = types.CompletedPart{ETag: out.ETag, PartNumber: number}
			return nil
		})
	}
	return parts, group.Wait()
}

// abort drops the parts of an upload; one that is gone is fine.
func (s *S3) abort(ctx context.Context, key, upload *string) error {
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: key, UploadId: upload})
	if err = s.explain(err); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// download fetches an object of a known size in parts that go in parallel. The entity tag makes sure that they are
// parts of one object, should it be replaced meanwhile.
func (s *S3) download(ctx context.Context, key, etag string, size int64, f io.WriterAt) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelParts)
	partSize := max(2*partBytes, size/maxParts)
	for offset := int64(0); offset < size; offset += partSize {
		group.Go(func() error {
			d := download{store: s, key: key, etag: etag, offset: offset, end: min(offset+partSize, size)}
			return d.run(ctx, io.NewOffsetWriter(f, offset))
		})
	}
	return group.Wait()
}
