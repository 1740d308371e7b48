package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// WriteJSON prints a value as JSON on one line.
func WriteJSON(w io.Writer, v any) error {
	_, err := fmt.Fprintln(w, JSON(v))
	return err
}

// JSON is a value of this program's own as JSON on one line.
func JSON(v any) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(fmt.Sprintf("cli: a value that cannot be encoded: %v", err))
	}
	return strings.TrimSuffix(b.String(), "\n")
}
