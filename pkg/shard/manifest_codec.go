package shard

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// wireManifest is a manifest's JSON, without the checksum.
type wireManifest struct {
	Format      int             `json:"format"`
	Shard       string          `json:"shard"`
	Generation  uint64          `json:"generation"`
	NextSegment uint64          `json:"next_segment"`
	AppliedFor  string          `json:"applied_for"`
	Segments    []Segment       `json:"segments"`
	Mapping     json.RawMessage `json:"mapping"`
	Applied     []Applied       `json:"applied"`
	Writer      Writer          `json:"writer"`
	Nonce       string          `json:"nonce"`
}

const checksumField = `,"checksum":"`

// Encode returns the manifest as it is stored.
func (m Manifest) Encode() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(wireManifest{
		Format: Format, Shard: m.Shard, Generation: m.Generation, NextSegment: m.NextSegment, AppliedFor: m.AppliedFor.String(),
		Segments: notNil(m.Segments), Mapping: m.Mapping, Applied: notNil(m.Applied), Writer: m.Writer, Nonce: m.Nonce,
	})
	if err != nil {
		return nil, fmt.Errorf("encode manifest %d of %s: %w", m.Generation, m.Shard, err)
	}
	open := body[:len(body)-1]
	return fmt.Appendf(open, "%s%s\"}\n", checksumField, checksum(open)), nil
}

// Decode reads a manifest from its stored form. The error is ErrFormat when a newer build wrote it, and ErrCorrupt when
// it is not what was written.
func Decode(stored []byte) (Manifest, error) {
	body, sum, whole := cutChecksum(stored)
	var head struct {
		Format *int `json:"format"`
	}
	readable := json.Unmarshal(body, &head) == nil && head.Format != nil
	switch {
	case readable && *head.Format > Format:
		return Manifest{}, fmt.Errorf("%w: it has format %d, this build reads up to %d: upgrade this one", ErrFormat, *head.Format, Format)
	case !whole:
		return Manifest{}, fmt.Errorf("%w: it is cut or was never a manifest: no checksum at the end of %d bytes", ErrCorrupt, len(stored))
	case sum != checksum(body[:len(body)-1]):
		return Manifest{}, fmt.Errorf("%w: its checksum does not match its content", ErrCorrupt)
	case !readable || *head.Format < 1:
		return Manifest{}, fmt.Errorf("%w: it names no format", ErrCorrupt)
	}
	m, err := decodeBody(body)
	if err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return m, nil
}

// cutChecksum splits what is stored into the JSON object without the checksum, and the checksum.
func cutChecksum(stored []byte) (body []byte, sum string, whole bool) {
	at := bytes.LastIndex(stored, []byte(checksumField))
	if at < 0 {
		return stored, "", false
	}
	rest, closed := bytes.CutSuffix(stored[at+len(checksumField):], []byte("\"}\n"))
	body = append(bytes.Clone(stored[:at]), '}')
	return body, string(rest), closed
}

func decodeBody(body []byte) (Manifest, error) {
	var w wireManifest
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return Manifest{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Manifest{}, errors.New("there is more after its end")
	}
	appliedFor, err := time.ParseDuration(w.AppliedFor)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{
		Shard: w.Shard, Generation: w.Generation, NextSegment: w.NextSegment, AppliedFor: appliedFor,
		Segments: w.Segments, Mapping: w.Mapping, Applied: w.Applied, Writer: w.Writer, Nonce: w.Nonce,
	}
	return m, m.Validate()
}

func checksum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func notNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// Validate reports what no manifest may be. It is checked before every commit and after every read.
func (m Manifest) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := checkLayout(m.Shard); err != nil {
		errs = append(errs, err)
	}
	if m.Generation == 0 {
		fail("generation is 0")
	}
	if m.AppliedFor <= 0 {
		fail("applied_for is %s: applied tasks would be forgotten at once", m.AppliedFor)
	}
	if m.Nonce == "" {
		fail("nonce is missing")
	}
	if len(m.Mapping) == 0 {
		fail("mapping is missing")
	}
	blobs := make(map[BlobName]bool, len(m.Segments))
	for i, s := range m.Segments {
		if err := s.validate(); err != nil {
			errs = append(errs, fmt.Errorf("segment %d: %w", s.ID, err))
		}
		if i > 0 && s.ID <= m.Segments[i-1].ID {
			fail("segment %d comes after segment %d", s.ID, m.Segments[i-1].ID)
		}
		if s.ID >= m.NextSegment {
			fail("segment %d is not below next_segment %d", s.ID, m.NextSegment)
		}
		if blobs[s.Blob] {
			fail("segment %d: blob %s is in two segments", s.ID, s.Blob)
		}
		blobs[s.Blob] = true
	}
	if len(errs) > 0 {
		return fmt.Errorf("manifest %d of shard %q: %w", m.Generation, m.Shard, errors.Join(errs...))
	}
	return nil
}

func (s Segment) validate() error {
	switch {
	case s.Docs == 0 || s.Docs > MaxDocs:
		return fmt.Errorf("it has %d documents, allowed are 1 to %d", s.Docs, MaxDocs)
	case !s.Deleted.below(s.Docs):
		return fmt.Errorf("a document is deleted that it does not have: it has %d", s.Docs)
	case s.Live != s.Docs-s.Deleted.Count():
		return fmt.Errorf("live is %d, but %d of %d documents are deleted", s.Live, s.Deleted.Count(), s.Docs)
	case s.Bytes <= 0:
		return fmt.Errorf("its size is %d bytes", s.Bytes)
	case s.Type == "":
		return errors.New("type is missing")
	}
	return s.Blob.Check()
}
