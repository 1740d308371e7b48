package demo

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// Options say what to show, and on what.
type Options struct {
	// Kafka, Redis and S3 are real servers to use: addresses as host:port,
	// several separated by commas, and the URL of an object store. What is
	// empty runs on this machine for as long as the demo does.
	Kafka, Redis, S3 string
	// Corpus is a file or folder with documents: Go files, text, or JSON with
	// an object per line. Empty: the source tree of the installed Go.
	Corpus string
	// Documents is how many are written at first; 0: as many as fit the time,
	// 20,000 at least.
	Documents int
	// JSON prints the table once more, as one object on the last line.
	JSON bool
	// Keep leaves the folder with data and logs, and what is on real servers.
	Keep bool

	Out io.Writer
	// Columns of the terminal that Out is; 0: it is none.
	Columns int
	// Environ is the environment of the programs that are started; nil: that
	// of this process.
	Environ []string

	programs programs // built already; tests set it
}

// leastDocuments is what the demo needs to have something to merge.
const leastDocuments = 1000

func (o *Options) validate() error {
	var errs []error
	if o.Documents != 0 && o.Documents < leastDocuments {
		errs = append(errs, fmt.Errorf("%d documents are too few: take %d or more", o.Documents, leastDocuments))
	}
	if o.Out == nil {
		errs = append(errs, errors.New("the demo needs something to print to"))
	}
	if o.S3 != "" {
		if _, err := below(o.S3, "demo"); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// below is the URL of a place inside a store.
func below(store, name string) (string, error) {
	u, err := url.Parse(store)
	if err != nil {
		return "", fmt.Errorf("store URL: %w", err)
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + "/" + name
	return u.String(), nil
}

// real tells whether a server is used that others may use, too.
func (o *Options) real() bool { return o.Kafka != "" || o.Redis != "" || o.S3 != "" }

// environ is the environment for the programs: only what is about the real
// servers of the settings in it, and everything that is none.
func (o *Options) environ() []string {
	kept := []string{} // nil would stand for that of this process
	for _, variable := range o.Environ {
		switch {
		case !strings.HasPrefix(variable, "OFFLINE_"),
			o.Kafka != "" && strings.HasPrefix(variable, "OFFLINE_KAFKA__"),
			o.Redis != "" && strings.HasPrefix(variable, "OFFLINE_REDIS__"),
			o.S3 != "" && strings.HasPrefix(variable, "OFFLINE_STORE__"):
			kept = append(kept, variable)
		}
	}
	return kept
}
