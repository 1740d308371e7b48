package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
)

// document is one text to search, as the shard gets it.
type document struct {
	ID      string `json:"-"`
	Package string `json:"package"` // its folder
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Doc     string `json:"doc"`
	Code    string `json:"code"`
	Lines   int    `json:"lines"`
	Bytes   int    `json:"bytes"`
	Set     string `json:"set"` // frozen or open
	Seq     int    `json:"seq"` // its place in the corpus: verifying reads by it
	Rev     int    `json:"rev"` // grows with every update
}

// The sets: what is frozen is never updated or deleted, so that queries for it
// have the same hits whatever happens around it.
const (
	frozen = "frozen"
	open   = "open"
)

const (
	maxCorpusBytes = 512 << 20 // of text in memory
	maxFileBytes   = 32 << 20  // larger files are left out
	maxTextBytes   = 32 << 10  // of one field; what is longer is cut
	maxIDBytes     = 400
)

var errNoCorpus = errors.New("name documents of your own: --corpus FILE or DIR")

// corpus is where documents come from.
type corpus struct {
	path  string // a file or folder; empty: the source tree of the installed Go
	limit int    // documents at most
}

// library is what was read.
type library struct {
	documents []document
	files     int
	from      string
}

// read returns the documents in an order that is the same every time and
// mixes all parts of the tree.
func (c corpus) read(ctx context.Context) (library, error) {
	root := c.path
	if root == "" {
		var err error
		if root, err = goTree(ctx); err != nil {
			return library{}, err
		}
	}
	files, base, err := list(root)
	if err != nil {
		return library{}, fmt.Errorf("read corpus: %w", err)
	}
	shuffled := rand.New(rand.NewPCG(1, 2))
	shuffled.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	l := library{from: root}
	if err := c.parse(ctx, files, base, &l); err != nil {
		return library{}, fmt.Errorf("read corpus: %w", err)
	}
	if len(l.documents) == 0 {
		return library{}, fmt.Errorf("no document in %s: it takes Go files, text, and JSON with an object per line", root)
	}
	shuffled.Shuffle(len(l.documents), func(i, j int) {
		l.documents[i], l.documents[j] = l.documents[j], l.documents[i]
	})
	for i := range l.documents {
		l.documents[i].Seq = i
	}
	return l, nil
}

// goTree is the folder of the installed Go's own source.
func goTree(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("ask go for its source tree: %w; %w", err, errNoCorpus)
	}
	src := filepath.Join(strings.TrimSpace(string(out)), "src")
	if _, err := os.Stat(src); err != nil {
		return "", fmt.Errorf("the installed Go has no source tree: %w; %w", err, errNoCorpus)
	}
	return src, nil
}

// list returns the files of a tree, and what their names are shown relative to.
func list(root string) (files []string, base string, err error) {
	info, err := os.Stat(root)
	if err != nil {
		return nil, "", err
	}
	if !info.IsDir() {
		return []string{root}, filepath.Dir(root), nil
	}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name := entry.Name()
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (name == "testdata" || strings.HasPrefix(name, ".")):
			return fs.SkipDir
		case entry.Type().IsRegular() && !strings.HasPrefix(name, "."):
			files = append(files, path)
		}
		return nil
	})
	return files, root, err
}

// parse reads files, some at a time, until there are enough documents.
func (c corpus) parse(ctx context.Context, files []string, base string, l *library) error {
	const batch = 256
	known, bytes := map[string]int{}, 0
	onlyGo := c.path == ""
	for start := 0; start < len(files) && len(l.documents) < c.limit && bytes < maxCorpusBytes; start += batch {
		part := files[start:min(start+batch, len(files))]
		found := make([][]document, len(part))
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(runtime.GOMAXPROCS(0))
		for i, path := range part {
			group.Go(func() (err error) {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				found[i], err = parseFile(path, base, onlyGo)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for _, documents := range found {
			if len(documents) > 0 {
				l.files++
			}
			for _, d := range documents {
				if len(l.documents) == c.limit {
					return nil
				}
				d.ID = unique(d.ID, known)
				bytes += len(d.Doc) + len(d.Code)
				l.documents = append(l.documents, d)
			}
		}
	}
	return nil
}

// parseFile returns the documents of one file; none for what is no text.
func parseFile(path, base string, onlyGo bool) ([]document, error) {
	isGo := strings.HasSuffix(path, ".go")
	if onlyGo && !isGo {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > maxFileBytes {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil || !utf8.Valid(text) || strings.ContainsRune(string(text[:min(len(text), 1024)]), 0) {
		return nil, err
	}
	name, err := filepath.Rel(base, path)
	if err != nil {
		return nil, err
	}
	name = filepath.ToSlash(name)
	switch ext := strings.ToLower(filepath.Ext(path)); {
	case isGo:
		return declarations(name, text), nil
	case ext == ".json", ext == ".ndjson", ext == ".jsonl":
		if documents := objects(name, text); documents != nil {
			return documents, nil
		}
	}
	return paragraphs(name, text), nil
}

// unique makes an id that nothing before it had: functions called init or _
// are declared many times.
func unique(id string, known map[string]int) string {
	id = cut(id, maxIDBytes)
	known[id]++
	if n := known[id]; n > 1 {
		return unique(fmt.Sprintf("%s~%d", id, n), known)
	}
	return id
}

// cut shortens text to a number of bytes, not in the middle of a rune.
func cut(text string, bytes int) string {
	if len(text) <= bytes {
		return text
	}
	for bytes > 0 && !utf8.RuneStart(text[bytes]) {
		bytes--
	}
	return text[:bytes]
}
