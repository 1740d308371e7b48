package cli

import (
	"io"
	"slices"
	"strings"
)

// Column is a column of a [Table].
type Column struct {
	Title string
	// Least is how narrow it may be cut when the table is too wide; 0: it is
	// never cut, as what must be copied whole.
	Least int
	// Spare columns are left out when there is no room for them, or nothing in
	// them.
	Spare bool
}

// Table prints rows in columns that fit a terminal: the last column that may
// be cut is cut first, then spare columns are left out, then others are cut.
type Table struct {
	columns []Column
	rows    [][]string
}

// NewTable returns a table without rows.
func NewTable(columns ...Column) *Table { return &Table{columns: columns} }

// Row adds a row: one cell per column. Cells are cleaned.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(t.columns))
	for i := range row {
		row[i] = strings.TrimSpace(Clean(cells[i]))
	}
	t.rows = append(t.rows, row)
}

// Len is the number of rows.
func (t *Table) Len() int { return len(t.rows) }

const gap = 2 // blanks between columns

// Write prints the table; nothing when it has no rows. width is that of the
// terminal, or 0: nothing is cut.
func (t *Table) Write(w io.Writer, width int) error {
	if len(t.rows) == 0 {
		return nil
	}
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		titles[i] = c.Title
	}
	widths := t.fit(width)
	var b strings.Builder
	line(&b, titles, widths)
	for _, row := range t.rows {
		line(&b, row, widths)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fit decides on the width of each column; -1 leaves one out.
func (t *Table) fit(width int) []int {
	widths := t.natural()
	if width <= 0 {
		return widths
	}
	over := -width - gap
	for _, w := range widths {
		if w >= 0 {
			over += w + gap
		}
	}
	wish, elastic := slices.Clone(widths), t.elastic()
	if elastic >= 0 {
		over -= narrow(&widths[elastic], t.columns[elastic].Least, over)
	}
	for i := len(widths) - 1; i >= 0 && over > 0; i-- {
		if t.columns[i].Spare && widths[i] >= 0 {
			over -= widths[i] + gap
			widths[i] = -1
		}
	}
	for i := len(widths) - 1; i >= 0 && over > 0; i-- {
		if least := t.columns[i].Least; least > 0 && widths[i] > 0 {
			over -= narrow(&widths[i], least, over)
		}
	}
	if elastic >= 0 && over < 0 { // a column that was left out made room
		widths[elastic] = min(wish[elastic], widths[elastic]-over)
	}
	return widths
}

// natural is how wide each column would like to be.
func (t *Table) natural() []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = columnsOf(c.Title)
		for _, row := range t.rows {
			widths[i] = max(widths[i], columnsOf(row[i]))
		}
		if c.Spare && !slices.ContainsFunc(t.rows, func(row []string) bool { return row[i] != "" }) {
			widths[i] = -1
		}
	}
	return widths
}

// elastic is the last column that may be cut and not left out, or -1.
func (t *Table) elastic() int {
	for i, c := range slices.Backward(t.columns) {
		if c.Least > 0 && !c.Spare {
			return i
		}
	}
	return -1
}

// narrow takes up to over columns away and returns how many.
func narrow(width *int, least, over int) int {
	taken := max(min(*width-least, over), 0)
	*width -= taken
	return taken
}

// line writes cells with no blanks at its end.
func line(b *strings.Builder, cells []string, widths []int) {
	blanks := 0
	for i, cell := range cells {
		if widths[i] < 0 {
			continue
		}
		if cell = Cut(cell, widths[i]); cell != "" {
			b.WriteString(strings.Repeat(" ", blanks))
			b.WriteString(cell)
			blanks = 0
		}
		blanks += widths[i] - columnsOf(cell) + gap
	}
	b.WriteByte('\n')
}
