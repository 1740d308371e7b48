package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// battery is queries of every kind whose hits must be the same before and
// after. They look at frozen documents only.
type battery []search

// vocabulary is what queries are made of: whatever the corpus is about, they
// find something.
type vocabulary struct {
	common, medium, rare []string // words of the comments, by how many documents have them
	phrases              []string
	packages, kinds      []string
	names                []string // how they start
	lines, bytes         []int    // sorted
}

// newBattery makes queries for what is frozen of the documents.
func newBattery(documents []document) (battery, error) {
	v := read(documents, func(d *document) bool { return d.Set == frozen })
	if err := v.enough(); err != nil {
		return nil, err
	}
	m := maker{only: term("set", frozen)}
	for i := range 4 {
		m.add("term", words("doc", v.medium[i]), object{"sort": []string{"-_score", "_id"}})
	}
	for i := range 4 {
		m.add("phrase", phrase("doc", v.phrases[i]), byBytes)
	}
	for i := range 3 {
		m.add("prefix", prefix("doc", cut(v.medium[i+4], 4)), byBytes)
	}
	m.add("prefix", prefix("name", v.names[0]), byName)
	m.add("boolean", boolean([]object{words("doc", v.common[0])}, []object{words("doc", v.medium[0]), words("doc", v.medium[1])}, nil), byBytes)
	m.add("boolean", boolean([]object{words("doc", v.common[1])}, nil, []object{words("doc", v.common[2])}), byBytes)
	m.add("boolean", boolean([]object{words("doc", v.common[0]), term("kind", v.kinds[0])}, nil, []object{words("doc", v.rare[0])}), byName)
	m.add("boolean", boolean([]object{words("doc", v.medium[3]+" "+v.common[3])}, nil, nil), byBytes)
	m.add("range", between("lines", quantile(v.lines, 0.5), quantile(v.lines, 0.8)), byBytes)
	m.add("range", between("bytes", quantile(v.bytes, 0.2), quantile(v.bytes, 0.25)), byName)
	m.add("range", between("bytes", quantile(v.bytes, 0.98), quantile(v.bytes, 1)), byBytes)
	m.add("range", both(between("lines", 1, quantile(v.lines, 0.5)), words("doc", v.medium[2])), byBytes)
	m.add("keyword", term("package", v.packages[0]), byName)
	m.add("keyword", both(term("package", v.packages[len(v.packages)/2]), term("kind", v.kinds[0])), byName)
	m.add("facets", object{"match_all": object{}}, facets)
	m.add("facets", words("doc", v.common[0]), facets)
	m.add("facets", between("lines", quantile(v.lines, 0.9), quantile(v.lines, 1)), facets)
	m.add("everything", object{"match_all": object{}}, object{"sort": []string{"_id"}, "size": 100})
	return m.made, m.err
}

// How hits are ordered: by what no merge and no other document can change.
// Only the score of a single word does that too.
var (
	byBytes = object{"sort": []string{"-bytes", "_id"}}
	byName  = object{"sort": []string{"lines", "-_id"}}
	facets  = object{"sort": []string{"_id"}, "facets": object{
		"kinds":    object{"field": "kind", "size": 10},
		"packages": object{"field": "package", "size": 20},
	}}
)

// traffic are queries as a user's, for all documents.
func traffic(documents []document) ([]search, error) {
	v := read(documents, func(d *document) bool { return d.Seq%frozenShare == 0 })
	if err := v.enough(); err != nil {
		return nil, err
	}
	m, page := maker{}, object{"size": 10, "source": true}
	shown := object{"size": 10, "source": true, "highlight": true}
	for i := range min(16, len(v.medium)/2) {
		m.add("words", words("doc", v.medium[i]), shown)
		m.add("words", object{"match": v.medium[2*i] + " " + v.medium[2*i+1], "field": "doc"}, page)
		m.add("words", words("code", v.medium[i]), page)
	}
	for i := range 4 {
		m.add("phrase", phrase("doc", v.phrases[i]), shown)
		m.add("prefix", prefix("doc", cut(v.medium[i], 5)), page)
		m.add("facets", words("doc", v.medium[i]), facets)
	}
	return m.made, m.err
}

type maker struct {
	only object // what is looked at; nil: everything
	made battery
	err  error
}

func (m *maker) add(kind string, query, more object) {
	if m.only != nil {
		query = both(m.only, query)
	}
	request := object{"query": query, "size": 50, "source": false}
	maps.Copy(request, more)
	body, err := json.Marshal(request)
	if err != nil {
		m.err = err
		return
	}
	m.made = append(m.made, search{kind: kind, body: body})
}

// read finds the words of some documents.
func read(documents []document, of func(*document) bool) vocabulary {
	counts, pairs, packages, kinds, names := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
	var v vocabulary
	for i := range documents {
		d := &documents[i]
		if !of(d) {
			continue
		}
		packages[d.Package]++
		kinds[d.Kind]++
		names[strings.ToLower(cut(d.Name, 4))]++
		v.lines, v.bytes = append(v.lines, d.Lines), append(v.bytes, d.Bytes)
		seen, last := map[string]bool{}, ""
		for word := range strings.FieldsSeq(d.Doc) {
			if !isWord(word) {
				last = ""
				continue
			}
			if !seen[word] {
				seen[word] = true
				counts[word]++
			}
			if last != "" {
				pairs[last+" "+word]++
			}
			last = word
		}
	}
	slices.Sort(v.lines)
	slices.Sort(v.bytes)
	n := len(v.lines)
	v.packages, v.kinds, v.names = frequent(packages, 1, n), frequent(kinds, 1, n), frequent(names, 1, n)
	v.common, v.medium, v.rare = frequent(counts, n/50, n), frequent(counts, 2+n/1000, n/50), frequent(counts, 2, 3+n/1000)
	if len(v.common) < 4 || len(v.rare) < 4 { // a small or monotonous corpus
		v.common, v.rare = v.medium, v.medium
	}
	v.phrases = frequent(pairs, 2, n)
	return v
}

func (v *vocabulary) enough() error {
	if len(v.medium) < 8 || len(v.phrases) < 4 {
		return fmt.Errorf("the corpus is too small to search for anything: %d words occur in several documents", len(v.medium))
	}
	return nil
}

// isWord tells whether a word is indexed as it is written, and is not left out
// because every text has it.
func isWord(word string) bool {
	if len(word) < 5 || stopWords[word] {
		return false
	}
	for _, r := range word {
		if !unicode.IsLower(r) || r > unicode.MaxASCII {
			return false
		}
	}
	return true
}

// stopWords are those that English analyzers leave out, as far as they are long enough to be looked at here.
var stopWords = func() map[string]bool {
	stop := map[string]bool{}
	for word := range strings.FieldsSeq(`about above after again against because before being below between could doing
		during further having herself himself itself myself other ought ourselves shall should their theirs themselves there
		these those through under until where which while would yours yourself yourselves`) {
		stop[word] = true
	}
	return stop
}()

// frequent are the keys that were counted at least and at most so often, the
// most frequent first.
func frequent(counts map[string]int, least, most int) []string {
	var keys []string
	for key, n := range counts {
		if n >= least && n <= most {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	return keys
}

func quantile(sorted []int, p float64) int {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
}

// ask runs every query and returns the answers.
func (b battery) ask(ctx context.Context, node *dataNode) ([]answer, error) {
	answers := make([]answer, len(b))
	for i, s := range b {
		f, err := node.search(ctx, s.body)
		if err != nil {
			return nil, fmt.Errorf("query %d (%s): %w", i+1, s.kind, err)
		}
		answers[i] = answerOf(f)
	}
	return answers, nil
}

// expect makes answers the ones that every later search must have.
func (b battery) expect(answers []answer) {
	for i := range b {
		b[i].want = &answers[i]
	}
}

// compare tells which queries have other hits now, and what is different.
func (b battery) compare(now []answer) []string {
	var different []string
	for i, s := range b {
		if what := s.want.differs(now[i]); what != "" {
			different = append(different, fmt.Sprintf("query %d (%s): %s", i+1, s.kind, what))
		}
	}
	return different
}

// kinds lists the kinds of queries and how many there are of each.
func (b battery) kinds() string {
	counts, order := map[string]int{}, []string(nil)
	for _, s := range b {
		if counts[s.kind]++; counts[s.kind] == 1 {
			order = append(order, s.kind)
		}
	}
	for i, kind := range order {
		order[i] = fmt.Sprintf("%d %s", counts[kind], kind)
	}
	return strings.Join(order, ", ")
}
