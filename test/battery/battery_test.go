package battery_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/test/battery"
)

func Example() {
	q := battery.Queries()[0]
	fmt.Println(q.Sort, len(battery.Words))
	// Output: [_id] 8
}

func TestEveryQueryHasAnOrderOfItsOwn(t *testing.T) {
	for _, q := range battery.Queries() {
		require.NotEmpty(t, q.Sort)
		last := q.Sort[len(q.Sort)-1]
		require.Contains(t, []string{"_id", "-_id"}, last, "documents of equal rank would come in any order: %+v", q)
		require.True(t, len(q.Raw) == 0 || json.Valid(q.Raw), "%s", q.Raw)
	}
}
