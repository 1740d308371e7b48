package demo

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

const source = `// Package books keeps books.
package books

import "time"

// Book is what people read.
type Book[T any] struct {
	Title string
	When  time.Time
}

// Open opens a book
// at its first page.
func (b *Book[T]) Open() error {
	return nil
}

func silent() {}

// Pages and lines.
const (
	// Pages of a book.
	Pages = 100
	Lines = 40 // on a page
	plain = 1
)

// init runs first.
func init() {}

// init runs second.
func init() {}
`

func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

func TestDeclarationsWithACommentAreDocuments(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"a/books/books.go": source, "a/testdata/x.go": source, "a/.git/x.go": source, "a/image": "\x00\xff\xfe"})
	l, err := corpus{path: dir, limit: 100}.read(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, l.files)
	byID := map[string]document{}
	for i, d := range l.documents {
		require.Equal(t, i, d.Seq)
		byID[d.ID] = d
	}
	require.Len(t, byID, 6)
	require.Equal(t, document{
		ID: "a/books/books.go#Book.Open", Package: "a/books", Kind: "method", Name: "Book.Open",
		Doc: "Open opens a book\nat its first page.", Code: "func (b *Book[T]) Open() error {\n\treturn nil\n}",
		Lines: 3, Bytes: 46, Seq: byID["a/books/books.go#Book.Open"].Seq,
	}, byID["a/books/books.go#Book.Open"])
	require.Equal(t, "type", byID["a/books/books.go#Book"].Kind)
	require.Equal(t, "Pages of a book.", byID["a/books/books.go#Pages"].Doc)
	require.Equal(t, "on a page", byID["a/books/books.go#Lines"].Doc)
	require.Contains(t, byID, "a/books/books.go#init")
	require.Contains(t, byID, "a/books/books.go#init~2")
}

func TestTextAndJSONAreDocuments(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{
		"notes.txt":   "first\nparagraph\r\n\r\nsecond one\n\n\n",
		"data.jsonl":  `{"b":"world","a":{"x":["hello"]},"n":1}` + "\n\n" + `{"a":"again"}` + "\n",
		"broken.json": "{\n\"a\": 1\n}\n",
	})
	l, err := corpus{path: dir, limit: 100}.read(t.Context())
	require.NoError(t, err)
	docs := map[string]string{}
	for _, d := range l.documents {
		docs[d.ID] = d.Doc
	}
	require.Equal(t, map[string]string{
		"notes.txt#1": "first\nparagraph", "notes.txt#2": "second one",
		"data.jsonl#1": "hello world", "data.jsonl#2": "again",
		"broken.json#1": "{\n\"a\": 1\n}",
	}, docs)

	one, err := corpus{path: filepath.Join(dir, "notes.txt"), limit: 1}.read(t.Context())
	require.NoError(t, err)
	require.Len(t, one.documents, 1)
	require.Equal(t, "notes.txt#1", one.documents[0].ID)
}

func TestCorpusIsTheSameEveryTime(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"a.go": source, "b.go": source, "c.txt": "x\n\ny\n\nz"})
	first, err := corpus{path: dir, limit: 10}.read(t.Context())
	require.NoError(t, err)
	second, err := corpus{path: dir, limit: 10}.read(t.Context())
	require.NoError(t, err)
	require.Len(t, first.documents, 10)
	require.Equal(t, first, second)
}

func TestCorpusThatCannotBeRead(t *testing.T) {
	t.Parallel()
	_, err := corpus{path: filepath.Join(t.TempDir(), "none"), limit: 10}.read(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = corpus{path: t.TempDir(), limit: 10}.read(t.Context())
	require.ErrorContains(t, err, "no document in")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = corpus{path: tree(t, map[string]string{"a.go": source}), limit: 10}.read(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestGoTreeHasEnoughDocuments(t *testing.T) {
	t.Parallel()
	l, err := corpus{limit: 3000}.read(t.Context())
	require.NoError(t, err)
	require.Len(t, l.documents, 3000)
	ids := map[string]bool{}
	for _, d := range l.documents {
		require.NotEmpty(t, strings.TrimSpace(d.Doc), d.ID)
		require.False(t, ids[d.ID], d.ID)
		require.True(t, utf8.ValidString(d.Code))
		ids[d.ID] = true
	}
	for i := range l.documents {
		l.documents[i].Set = frozen
	}
	b, err := newBattery(l.documents)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(b), 20)
}

func TestCutKeepsRunesWhole(t *testing.T) {
	t.Parallel()
	require.Equal(t, "gr", cut("grün", 3))
	require.Equal(t, "grü", cut("grün", 4))
	require.Equal(t, "grün", cut("grün", 9))
	require.Empty(t, cut("ü", 1))
}
