package remotestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// folderLister is a store that can list folders without looking into them.
type folderLister interface {
	folders(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// Folders yields the folders right below prefix, each with a slash at its end, in byte order. prefix is empty or ends
// with a slash. What is in the folders costs nothing where the store can list by delimiter, as S3 and a file system
// can; from any other it takes one listing per folder.
func Folders(ctx context.Context, store Store, prefix string) iter.Seq2[string, error] {
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		return func(yield func(string, error) bool) {
			yield("", fmt.Errorf("%w prefix %q: a folder ends with a slash", ErrKey, prefix))
		}
	}
	if s, ok := store.(folderLister); ok {
		return s.folders(ctx, prefix)
	}
	return skipFolders(ctx, store, prefix)
}

// afterAll is greater than any byte of a key: no key follows it in its folder.
const afterAll = "\x7f"

// skipFolders takes the first key of each folder and goes on behind the folder.
func skipFolders(ctx context.Context, store Store, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for after, more := "", true; more; {
			more = false
			for o, err := range store.List(ctx, prefix, after) {
				if err != nil {
					yield("", err)
					return
				}
				name, _, inFolder := strings.Cut(strings.TrimPrefix(o.Key, prefix), "/")
				if !inFolder {
					continue
				}
				after, more = prefix+name+"/"+afterAll, true
				if !yield(prefix+name+"/", nil) {
					return
				}
				break
			}
		}
	}
}

// folders implements folderLister.
func (s *S3) folders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := checkPrefix(prefix); err != nil {
			yield("", err)
			return
		}
		pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{
			Bucket: &s.bucket, Prefix: s.key(prefix), Delimiter: aws.String("/"),
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield("", fmt.Errorf("list folders of %q: %w", prefix, s.explain(err)))
				return
			}
			for _, p := range page.CommonPrefixes {
				if !yield(strings.TrimPrefix(aws.ToString(p.Prefix), s.prefix), nil) {
					return
				}
			}
		}
	}
}

// folders implements folderLister. A folder stays when its last object is deleted, so it may be empty.
func (s *Filesystem) folders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		err := errors.Join(checkPrefix(prefix), ctx.Err())
		if err != nil {
			yield("", err)
			return
		}
		names, err := lister{store: s}.names(prefix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			yield("", fmt.Errorf("list folders of %q: %w", prefix, err))
			return
		}
		for _, name := range names {
			if strings.HasSuffix(name, "/") && !yield(prefix+name, nil) {
				return
			}
		}
	}
}
