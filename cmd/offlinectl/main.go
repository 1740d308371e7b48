// Offlinectl looks at tasks, nodes and dead letters, and acts on them.
//
//	offlinectl doctor                        what endangers a promise
//	offlinectl tasks list --status FAILED
//	offlinectl tasks watch ID
//	offlinectl dead-letters redrive --type image.resize --dry-run
//	offlinectl verify --rate 50              what becomes of tasks while you break things
//
// Its exit status tells what came of it: offlinectl --help lists the numbers.
package main

import "github.com/offline-nodes/offline-nodes/internal/cli"

func main() { cli.Main(newCommand) }
