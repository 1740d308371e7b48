package main

import (
	"context"
	"slices"
	"strings"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
)

// pageSize is how many tasks are asked for at once when all are wanted.
const pageSize = 1000

// pager lists tasks in pages of exactly the size that is asked for. Redis gives
// them in portions of its own: what is left of one is found again by asking for
// the same portion once more and leaving out the ids that were there, from the
// highest down. Tasks that change meanwhile do not disturb that.
type pager struct {
	client *client.Client
	filter claims.Filter

	at    string // cursor of the portion
	below string // only ids below this are left of it; "": all
	ended bool
}

// cursorMark stands between the two parts of a cursor; no id has it.
const cursorMark = "@"

func (p *pager) set(cursor string) { p.at, p.below, _ = strings.Cut(cursor, cursorMark) }
func (p *pager) more() bool        { return !p.ended }
func (p *pager) cursor() string {
	if p.below == "" {
		return p.at
	}
	return p.at + cursorMark + p.below
}

// next returns the next page; a limit of 0 means some.
func (p *pager) next(ctx context.Context, limit int) (page []*claims.State, err error) {
	for len(page) < max(limit, 1) && !p.ended {
		size := 1
		if limit == 0 {
			size = pageSize
		}
		portion, after, err := p.client.List(ctx, p.filter, p.at, size)
		if err != nil {
			return nil, err
		}
		page = append(page, p.take(portion, after, limit, len(page))...)
	}
	return page, nil
}

// take returns what is left of a portion, as much as the page has room for.
func (p *pager) take(portion []*claims.State, after string, limit, have int) []*claims.State {
	slices.SortFunc(portion, func(a, b *claims.State) int { return strings.Compare(b.ID, a.ID) })
	if p.below != "" {
		portion = slices.DeleteFunc(portion, func(s *claims.State) bool { return s.ID >= p.below })
	}
	if room := limit - have; limit > 0 && len(portion) > room {
		portion = portion[:room]
		p.below = portion[room-1].ID
		return portion
	}
	p.at, p.below, p.ended = after, "", after == ""
	return portion
}
