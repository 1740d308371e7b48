package demo

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// held asks the offline nodes, but for one, how many of their claims were
// answered that another node has the task. A node that does not answer is left
// out.
func (f *fleet) held(ctx context.Context, but *process) map[string]float64 {
	counts := map[string]float64{}
	for _, n := range f.nodes {
		if n == but || !n.running() {
			continue
		}
		if count, err := heldClaims(ctx, "http://"+f.admin[n.name]+"/metrics"); err == nil {
			counts[n.name] = count
		}
	}
	return counts
}

// heldClaims reads a node's metrics.
func heldClaims(ctx context.Context, url string) (count float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "} ")
		if !strings.HasPrefix(name, "offline_node_claims") || !strings.Contains(name, `verdict="held"`) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		count += n
	}
	return count, lines.Err()
}
