package shard

import (
	"fmt"

	segment "github.com/blevesearch/scorch_segment_api/v2"
	zapv11 "github.com/blevesearch/zapx/v11"
	zapv12 "github.com/blevesearch/zapx/v12"
	zapv13 "github.com/blevesearch/zapx/v13"
	zapv14 "github.com/blevesearch/zapx/v14"
	zapv15 "github.com/blevesearch/zapx/v15"
	zapv16 "github.com/blevesearch/zapx/v16"
)

// older are the versions of zap that documents can be read from. bleve brings them all.
var older = map[uint32]interface {
	Open(path string) (segment.Segment, error)
}{
	zapv11.Version: &zapv11.ZapPlugin{}, zapv12.Version: &zapv12.ZapPlugin{}, zapv13.Version: &zapv13.ZapPlugin{},
	zapv14.Version: &zapv14.ZapPlugin{}, zapv15.Version: &zapv15.ZapPlugin{}, zapv16.Version: &zapv16.ZapPlugin{},
}

// OpenToRead is OpenSegment for whoever needs the documents alone, to index them anew: it reads segments of older
// formats too, which can be neither searched nor merged.
func OpenToRead(path string, about Segment) (*Reader, error) {
	plugin := older[about.Version]
	if plugin == nil || about.Type != SegmentType {
		return OpenSegment(path, about)
	}
	seg, err := plugin.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open segment %d: %w", about.ID, err)
	}
	return newReader(seg, about)
}
