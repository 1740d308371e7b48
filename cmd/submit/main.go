// Submit publishes tasks: one from its flags, or many from lines of JSON. It
// can wait for them with a progress bar.
//
//	submit image.resize --params '{"image":"cat.jpg","width":640}' --wait
//	submit --file tasks.ndjson
//
// Its exit status tells what became of them: submit --help lists the numbers.
package main

import "github.com/offline-nodes/offline-nodes/internal/cli"

func main() { cli.Main(newCommand) }
