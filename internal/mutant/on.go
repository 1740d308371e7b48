//go:build mutants

package mutant

import "os"

var broken = os.Getenv("MUTANT")

// On tells whether the rule of this name is broken in this process.
func On(name string) bool { return name == broken }
