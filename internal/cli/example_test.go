package cli_test

import (
	"fmt"
	"os"

	"github.com/offline-nodes/offline-nodes/internal/cli"
)

func Example() {
	table := cli.NewTable(cli.Column{Title: "ID"}, cli.Column{Title: "NODE", Spare: true}, cli.Column{Title: "NOTE", Least: 8})
	table.Row("snap-7/3", "node-12", "42% uploaded segment 3 of 7")
	table.Row("snap-7/4", "node-12", "evil \x1b[2J")
	if err := table.Write(os.Stdout, 32); err != nil {
		fmt.Println(err)
	}
	fmt.Println(cli.Bar(0.42, 20))
	// Output:
	// ID        NODE     NOTE
	// snap-7/3  node-12  42% uploaded…
	// snap-7/4  node-12  evil \x1b[2J
	// [########------------]
}
